"""Labels: whether they tell something, and whether the inputs give them away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nnhooks_plugins.checks._batches import (
    CLASS_LOSSES,
    SeesBatches,
    first_tensor,
    has_weights,
    loss_pair,
)
from nnhooks_plugins.checks._prints import flat

ENOUGH, MOST = 64, 512  # rows to judge by
COLUMNS = 512
NEIGHBOURS = 5
STRUCTURED = 0.8  # nearest neighbours are so much nearer than in columns shuffled apart


class Labels(SeesBatches):
    """Collects the first rows and their labels, and looks at them once."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.count = 0
        self.judged = False
        self.mixed = False  # a batch has held more than one label
        self.tokens: Tensor | None = None  # what the model was last called with
        self.inputs: Tensor | None = None
        self.classes: list[int] = []  # the only class in each of the first steps
        self.batches = 0

    def saw_batch(self, inputs: Tensor, target: Tensor | None, source: Any) -> None:
        if target is not None:
            self._keep(inputs, target)

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        super().before_forward(model, inputs)
        if self.watch.inspecting and torch.is_grad_enabled() and has_weights(model):
            given = first_tensor(inputs)
            floats = given is not None and given.is_floating_point()
            self.inputs, self.tokens = (given, None) if floats else (None, given)

    def before_backward(self, losses: Sequence[Tensor]) -> None:
        super().before_backward(losses)
        self.inputs = self.tokens = None

    def after_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        pair = loss_pair(function, arguments, keywords)
        if pair is None:
            return
        prediction, target = pair
        if function in CLASS_LOSSES:
            self._look_for_one_class(prediction, target)
            if self.tokens is not None and not target.is_floating_point():
                self._look_at_tokens(self.tokens, target)
        elif self.inputs is not None and target.numel() == self.inputs.numel():
            return  # an autoencoder
        if self.inputs is not None and not self.told and not self.from_loader:
            self._keep(self.inputs, target)

    def on_end(self) -> None:
        self._judge()

    # One class

    def _look_for_one_class(self, prediction: Tensor, target: Tensor) -> None:
        if target.dim() != 1 or target.is_floating_point() or prediction.dim() != 2:
            return
        if len(target) < 8 or prediction.shape[1] < 2 or self.batches >= 5:
            return
        self.batches += 1
        self.classes += target.detach().unique().tolist()
        if self.batches == 5 and len(set(self.classes)) == 1:
            self.find(
                "warning",
                "label-sorted-batches",
                "the first batches hold one class only",
                evidence=f"5 batches of {len(target)} rows, all of class {self.classes[0]}, where "
                f"the model tells {prediction.shape[1]} apart",
                way_out="shuffle; and see whether there are other classes at all",
            )

    # Tokens

    def _look_at_tokens(self, tokens: Tensor, target: Tensor) -> None:
        if tokens.dim() != 2 or tokens.shape[1] < 4 or tokens.numel() != target.numel():
            return
        if len(torch.unique(tokens)) < 4 or tokens.device != target.device:
            return
        target = target.detach().reshape(tokens.shape)
        if torch.equal(tokens, target):
            self.find(
                "warning",
                "target-not-shifted",
                "the model is to predict the very tokens that it is given",
                evidence=f"all {tokens.numel()} targets equal the inputs at the same place",
                way_out="predict the next token: logits[:, :-1] against tokens[:, 1:]",
            )
        elif torch.equal(tokens[:, :-1], target[:, 1:]):
            self.find(
                "warning",
                "target-not-shifted",
                "the model is to predict the token before, which it has already seen",
                evidence="each target equals the input one place earlier",
                way_out="predict the next token: logits[:, :-1] against tokens[:, 1:]",
            )

    # Rows and labels

    def _keep(self, inputs: Tensor, target: Tensor) -> None:
        if self.judged or not inputs.is_floating_point():
            return
        if len(target) != len(inputs) or target.numel() != len(inputs):
            return
        if self.rows and flat(inputs, COLUMNS).shape[1] != self.rows[0].shape[1]:
            return
        self.rows.append(flat(inputs, COLUMNS).float().clone())
        self.labels.append(target.detach().reshape(-1).double().clone())
        self.count += len(inputs)
        self.mixed |= bool((target != target.reshape(-1)[0]).any())
        if self.count >= MOST:
            self._judge()

    def _judge(self) -> None:
        if self.judged or self.count < ENOUGH:
            return
        self.judged = True
        rows, labels = torch.cat(self.rows).cpu()[:MOST], torch.cat(self.labels).cpu()[:MOST]
        self.rows, self.labels = [], []
        rows, labels = once(rows, labels)  # a row is its own neighbour in the next epoch
        if len(rows) < ENOUGH:
            return
        _, labels_of, counts = labels.unique(return_inverse=True, return_counts=True)
        whole = bool((labels == labels.round()).all())
        few = whole and 2 <= len(counts) <= len(labels) / 8
        if len(counts) > 1 and rows.shape[1] > 1:
            self._look_for_label(rows, labels, labels_of if few else None)
        # Batches of one label, or two players: real against generated, and not what rows are.
        if few and len(rows) >= 2 * ENOUGH and self.mixed and len(self.watch.optimizers) < 2:
            self._look_for_meaning(rows, labels_of, counts)

    def _look_for_label(self, rows: Tensor, labels: Tensor, classes: Tensor | None) -> None:
        """A feature that equals the label, or is one constant for each class, gives it away."""
        given = (rows.double() - labels.float().double()[:, None]).abs().amax(0) == 0
        if classes is not None:
            given |= constant_per_class(rows, classes)
        if 0 < int(given.sum()) <= max(1, rows.shape[1] // 2):
            self.find(
                "warning",
                "label-in-features",
                "a feature of the inputs gives the label away",
                evidence=f"feature {int(given.nonzero()[0])} of {rows.shape[1]} tells the label of "
                f"all {len(rows)} rows",
                way_out="take the label out of the inputs; of a window, predict what comes after",
            )

    def _look_for_meaning(self, rows: Tensor, classes: Tensor, counts: Tensor) -> None:
        """Where rows form groups, neighbours should have the same label more often than not."""
        spread = rows.std(0)
        rows = ((rows - rows.mean(0)) / spread)[:, spread > 0]
        if not rows.shape[1] or int(counts.max()) > 0.9 * len(rows) or not structured(rows):
            return
        distances = torch.cdist(rows, rows).fill_diagonal_(torch.inf)
        nearest = distances.topk(NEIGHBOURS, largest=False).indices
        agreement = float((classes[nearest] == classes[:, None]).double().mean())
        chance = float((counts.double() / len(rows)).pow(2).sum())
        deviation = (chance * (1 - chance) / len(rows)) ** 0.5
        if agreement < chance + 2 * deviation:
            self.find(
                "warning",
                "labels-uninformative",
                "rows that are alike do not have like labels: do they belong to these rows?",
                evidence=f"{agreement:.0%} of the {NEIGHBOURS} nearest rows have the same label, "
                f"{chance:.0%} would by chance ({len(rows)} rows)",
                way_out="shuffle inputs and labels by the same permutation",
            )


def once(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and labels without repetitions."""
    _, which = rows.unique(dim=0, return_inverse=True)
    first = torch.full((int(which.max()) + 1,), len(rows)).scatter_reduce_(
        0, which, torch.arange(len(rows)), "amin"
    )
    return rows[first], labels[first]


def constant_per_class(rows: Tensor, classes: Tensor) -> Tensor:
    """Say of each column whether it has one value for each class, different for all: (columns,)."""
    values, constant = [], torch.ones(rows.shape[1], dtype=torch.bool)
    for one in classes.unique():
        mine = rows[classes == one]
        constant &= (mine == mine[0]).all(0) if len(mine) > 3 else torch.tensor(False)
        values.append(mine[0])
    stacked = torch.stack(values).sort(0).values
    return constant & (stacked[1:] != stacked[:-1]).all(0)


def structured(rows: Tensor) -> bool:
    """Say whether rows hold more than independent noise in each column."""
    generator = torch.Generator().manual_seed(7)
    apart = torch.stack(
        [column[torch.randperm(len(rows), generator=generator)] for column in rows.T], 1
    )
    nearest = [
        float(torch.cdist(one, one).fill_diagonal_(torch.inf).amin(0).mean())
        for one in (rows, apart)
    ]
    return nearest[0] < STRUCTURED * nearest[1]


EXPLAINED: dict[str, str] = {
    "label-in-features": """\
A feature equals the label, or is one constant for each class: there is nothing to learn.

Wrong:

    x = table  # with the target column
    window, target = series[i : i + 8], series[i + 7]

Right:

    x = table[:, :-1]
    window, target = series[i : i + 8], series[i + 8]
""",
    "labels-uninformative": """\
Rows form groups, yet the nearest rows share labels no more often than by chance: the labels
may belong to other rows.

Wrong:

    x = x[torch.randperm(n)]

Right:

    order = torch.randperm(n)
    x, y = x[order], y[order]
""",
    "label-sorted-batches": """\
The first batches hold one class only.

Wrong:

    x = x[y.argsort()]; y = y.sort().values

Right:

    order = torch.randperm(n)
    x, y = x[order], y[order]
""",
    "target-not-shifted": """\
A language model is to predict a token that it has been given.

Wrong:

    loss(model(tokens), tokens)

Right:

    loss(model(tokens[:, :-1]), tokens[:, 1:])
""",
}
