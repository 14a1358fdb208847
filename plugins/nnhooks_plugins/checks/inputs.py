"""Inputs: what reaches the first layer of a model, and whether a model leaves it as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard
from weakref import ref

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks import Check
from nnhooks_plugins.checks._batches import first_tensor, has_weights, hidden, is_rows
from nnhooks_plugins.checks._prints import flat

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.RNN, nn.LSTM, nn.GRU)
ENOUGH = 64  # rows, to judge them
LARGE, TINY = 20.0, 0.02  # root mean square above, greatest value below which training suffers
APART = 1e4  # ratio of the spreads of two features
SHIFT, STRETCH = 2.0, 3.1  # of evaluation inputs against training inputs, for most features
ARITHMETIC = {"add_", "sub_", "mul_", "div_", "clamp_", "clip_", "pow_"} | {
    "__iadd__",
    "__isub__",
    "__imul__",
    "__itruediv__",
}


class Inputs(Check):
    """Looks at the data where the first layer with weights takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = False  # the first layer of this forward pass is still to come
        self.pieces: list[Tensor] = []
        self.judged = False
        self.before: list[tuple[Tensor, int]] = []
        self.modified: list[ref[Tensor]] = []
        self.changed: dict[int, str] = {}  # views of larger tensors that arithmetic has changed
        self.suspect: Tensor | None = None
        self.flags: list[Tensor] = []
        self.seen: dict[tuple[int, bool], list[Tensor]] = {}  # of each model: in training or not
        self.versions: list[tuple[Tensor, int]] = []

    def on_start(self) -> None:
        data = self.watch.facts.get("data")
        told = data if isinstance(data, tuple | list) else [data]
        self.versions = [(one, one._version) for one in told if versioned(one)]

    # Each forward pass

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.before, self.suspect = [], None
        if not has_weights(model):
            return
        self.first = self.watch.inspecting and torch.is_grad_enabled() and model.training
        given = first_tensor(inputs)
        if given is None or not given.is_floating_point() or hidden(given):
            return
        self._look_for_nonfinite(given)
        if versioned(given):
            self.before = [(given, given._version)]
            if any(given is known() for known in self.modified):
                self._mutated("the tensor that the model gets each time is changed by its forward")
        if name := self.changed.get(given.data_ptr()):
            self._mutated(f"`{name}` changes a batch that is a view of the data")
        if is_rows(given):
            self._note_distribution(model, given)

    def after_forward(self, model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        for given, version in self.before:
            if given._version != version:
                self._look_at_change(given)
        self.before = []
        if self.suspect is not None:
            self._nonfinite(first_tensor(output))

    def after_module(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not self.first or not isinstance(module, LAYERS):
            return
        self.first = False
        given = first_tensor(inputs)
        if self.judged or given is None or not is_rows(given) or not given.is_floating_point():
            return
        if isinstance(module, nn.Conv2d) and given.dim() == 4:
            self._look_at_layout(given)
        self.pieces.append(columns(module, given))
        if sum(map(len, self.pieces)) >= ENOUGH and len(self.pieces) > 1:
            self._judge()

    def after_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        name = getattr(function, "__name__", "")
        if name in ARITHMETIC and arguments and isinstance(arguments[0], Tensor):
            one = arguments[0]
            if one.is_floating_point() and not one.requires_grad and part_of_more(one):
                self.changed[one.data_ptr()] = name

    def after_step(self, optimizer: Optimizer) -> None:
        self.changed.clear()
        if self.flags and self.watch.inspecting:
            self._poll()

    def on_epoch_end(self) -> None:
        self._compare_data()

    def on_end(self) -> None:
        self._poll()
        self._compare_data()
        if sum(map(len, self.pieces)) >= 8:
            self._judge()
        self._compare_distributions()

    # Numbers

    def _look_for_nonfinite(self, given: Tensor) -> None:
        """On a GPU nothing waits: a flag is kept there, and read now and then."""
        total = given.detach().sum()
        if given.device.type != "cpu":
            self.flags.append(~total.isfinite())
            if len(self.flags) > 100:
                self.flags = [torch.stack(self.flags).any()]
        elif not bool(total.isfinite()) and not bool(given.detach().isfinite().all()):
            self.suspect = given

    def _nonfinite(self, output: Tensor | None) -> None:
        given, self.suspect = self.suspect, None
        if given is None or output is None or not output.is_floating_point():
            return
        if bool(output.detach().isfinite().all()):
            return  # the model knows how to deal with them
        bad = ~given.detach().isfinite()
        rows = bad.reshape(len(bad), -1).any(1).nonzero().flatten() if bad.dim() else bad
        self.find(
            "warning",  # a loop may throw such a batch away
            "nonfinite-input",
            "inputs hold NaN or infinity, and so does what the model makes of them",
            evidence=f"{int(bad.sum())} values; the first is in row {int(rows[0])} of the batch",
            way_out="find and mend these rows before training",
        )

    def _poll(self) -> None:
        if self.flags and bool(torch.stack(self.flags).any()):
            self.find(
                "warning",
                "nonfinite-input",
                "inputs of a model hold NaN or infinity",
                way_out="find and mend these rows before training",
            )
        self.flags = []

    def _judge(self) -> None:
        self.judged = True
        width = self.pieces[0].shape[1]
        rows = torch.cat([piece for piece in self.pieces if piece.shape[1] == width]).double()
        self.pieces = []
        greatest, size = float(rows.abs().max()), float(rows.pow(2).mean().sqrt())
        evidence = f"mean {float(rows.mean()):.3g}, root mean square {size:.3g}"
        evidence += f", from {float(rows.min()):.3g} to {float(rows.max()):.3g}"
        if size > LARGE:
            self.find(
                "warning",
                "input-scale",
                "the first layer gets very large numbers: the inputs are not normalised",
                evidence=evidence,
                way_out="subtract the mean and divide by the spread of the training data",
            )
        elif 0 < greatest < TINY:
            self.find(
                "warning",
                "input-scale",
                "the first layer gets very small numbers: are the inputs scaled twice?",
                evidence=evidence,
                way_out="scale once, so that the spread is near 1",
            )
        self._look_at_features(rows)

    def _look_at_features(self, rows: Tensor) -> None:
        spread = rows.std(0)
        moving = spread > 0
        if len(rows) < 16 or int(moving.sum()) < 2:
            return
        wide, narrow = spread.argmax(), spread.masked_fill(~moving, float("inf")).argmin()
        if float(spread[wide] / spread[narrow]) > APART:
            self.find(
                "warning",
                "feature-scale",
                "some features are so much larger than others that these do not count",
                evidence=f"feature {int(wide)} spreads by {float(spread[wide]):.3g}, "
                f"feature {int(narrow)} by {float(spread[narrow]):.3g}",
                way_out="divide each feature by its spread in the training data",
            )

    def _look_at_layout(self, images: Tensor) -> None:
        """Where colours lie side by side, the next value but `channels` is nearer than the next."""
        channels = images.shape[1]
        if channels not in (3, 4) or images.shape[-1] < 8:
            return
        rows = images.detach()[:16].float().flatten(2)
        near = (rows[..., 1:] - rows[..., :-1]).abs().mean()
        far = (rows[..., channels:] - rows[..., :-channels]).abs().mean()
        if float(far) < 0.7 * float(near):
            self.find(
                "warning",
                "image-layout",
                "images seem to hold their channels last, and are read as if they came first",
                evidence=f"neighbours differ by {float(near):.3g}, values {channels} apart by "
                f"{float(far):.3g}",
                way_out="use permute(0, 3, 1, 2), not view or reshape",
            )

    # Changes

    def _look_at_change(self, given: Tensor) -> None:
        data = self.watch.facts.get("data")
        told = first_tensor(data)
        if part_of_more(given) or given is told:
            self._mutated("forward changes its input, which is a view of the data")
            return
        self.modified = [known for known in self.modified if known() is not None][-8:]
        self.modified.append(ref(given))
        self.find(
            "note",
            "input-modified",
            "forward changes its input in place",
            way_out="compute a new tensor: x = x * scale, not x *= scale",
        )

    def _compare_data(self) -> None:
        if any(one._version != version for one, version in self.versions):
            self._mutated("the training data has been changed since watching began")

    def _mutated(self, message: str) -> None:
        self.find(
            "error",
            "dataset-mutated",
            f"{message}: each epoch trains on other data",
            way_out="compute a new tensor: x = x * scale, not x *= scale",
        )

    # Training and evaluation

    def _note_distribution(self, model: nn.Module, given: Tensor) -> None:
        training = torch.is_grad_enabled()
        if model.training != training:
            return
        kept = self.seen.setdefault((id(model), training), [])
        if len(kept) < 8:
            kept.append(flat(given, 256).clone()[:256])

    def _compare_distributions(self) -> None:
        for (model, training), kept in self.seen.items():
            held = self.seen.get((model, False))
            if not training or not held or {p.shape[1] for p in kept + held} != {kept[0].shape[1]}:
                continue
            mine, theirs = torch.cat(kept).double(), torch.cat(held).double()
            if min(len(mine), len(theirs)) >= 32:
                self._compare(mine, theirs)

    def _compare(self, mine: Tensor, theirs: Tensor) -> None:
        spread, other = mine.std(0), theirs.std(0)
        moving = (spread > 0) & (other > 0)
        if not bool(moving.any()):
            return
        shift = float((((theirs.mean(0) - mine.mean(0)).abs() / spread)[moving]).median())
        stretch = float((other / spread)[moving].median())
        if shift > SHIFT or not 1 / STRETCH < stretch < STRETCH:
            self.find(
                "warning",
                "input-shift",
                "evaluation gives the model inputs of another scale than training does",
                evidence=f"most features are shifted by {shift:.2g} spreads and stretched "
                f"{stretch:.2g} times",
                way_out="normalise both with the statistics of the training data",
                place="",
            )


def columns(module: nn.Module, given: Tensor) -> Tensor:
    """Return at most 256 rows of features as a layer sees them: (n, features), evenly spread."""
    channels = isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and given.dim() > 2
    features = given.detach().movedim(1, -1) if channels else given.detach()
    matrix = features.reshape(-1, features.shape[-1])
    return matrix[:: -(-len(matrix) // 256)].clone()


def part_of_more(tensor: Tensor) -> bool:
    """Say whether a tensor is a view of one that holds more."""
    return tensor._base is not None and tensor._base.numel() > tensor.numel()


def versioned(content: Any) -> TypeGuard[Tensor]:
    """Say whether changes of this can be seen."""
    return isinstance(content, Tensor) and not content.is_inference()


EXPLAINED: dict[str, str] = {
    "input-scale": """\
The first layer gets numbers far from 1, so that its gradients are far from those of the rest.

Wrong:

    model(pixels.float())  # 0 to 255

Right:

    model((pixels.float() / 255 - mean) / spread)
""",
    "feature-scale": """\
Some features are ten thousand times larger than others, which then do not count.

Wrong:

    model(table)

Right:

    model((table - mean) / spread)  # of each column
""",
    "image-layout": """\
Pictures with channels last are viewed, not permuted, as channels first: colours are mixed.

Wrong:

    pictures.view(n, 3, height, width)

Right:

    pictures.permute(0, 3, 1, 2)
""",
    "nonfinite-input": """\
Inputs hold NaN or infinity, and the outputs do too.

Wrong:

    x = (x - x.mean(0)) / x.std(0)  # of a constant column

Right:

    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
""",
    "input-modified": """\
The forward pass writes into its input.

Wrong:

    def forward(self, x):
        x *= self.scale

Right:

    def forward(self, x):
        x = x * self.scale
""",
    "dataset-mutated": """\
The data itself is changed by each step: a slice is a view, and is written to in place.

Wrong:

    batch = x[i : i + 32]
    batch += noise

Right:

    batch = x[i : i + 32] + noise
""",
    "input-shift": """\
Evaluation gives the model inputs of another scale than training does.

Wrong:

    train(model, (x - mean) / spread)
    evaluate(model, held)

Right:

    train(model, (x - mean) / spread)
    evaluate(model, (held - mean) / spread)
""",
}
