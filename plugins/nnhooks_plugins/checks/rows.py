"""Rows: which rows of the data reach training, how often, in which order, with which label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils.data import DistributedSampler, RandomSampler, SequentialSampler, Subset

from nnhooks_plugins.checks._batches import (
    TOLD,
    SeesBatches,
    has_weights,
    is_rows,
    loss_pair,
    parts,
)
from nnhooks_plugins.checks._prints import Prints

MOST_ROWS = 500_000  # of longer epochs no fingerprints are kept
FEW = 0.05  # share of rows that may be doubled by nature


@dataclass
class Stream:
    """What one source of batches has given since its epoch began, and in earlier epochs."""

    source: Any
    prints: list[Tensor] = field(default_factory=list)
    targets: list[Tensor] = field(default_factory=list)
    rich: bool = True  # rows hold so much that none is like another by chance
    last: Tensor | None = None  # the epoch before
    never: Tensor | None = None  # rows of the data that no epoch has used so far
    fewest_missing: int = 0
    epochs: int = 0
    fetched: int = 0
    fetched_ever: int = 0
    firsts: int = 0  # iterations that were left after one batch
    ends: list[tuple[int, int, int]] = field(default_factory=list)  # storage, first row, end
    alike: list[Tensor] = field(default_factory=list)

    @property
    def batch_size(self) -> int:
        return max((len(prints) for prints in self.prints), default=0)


@dataclass(frozen=True)
class Piece:
    """Rows that were taken from a tensor of so many: which memory, and which rows."""

    tensor: ref[Tensor]
    home: int
    of: int
    rows: Tensor


class Rows(SeesBatches):
    """Follows rows by fingerprints through epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.prints = Prints()
        self.streams: dict[int, Stream] = {}
        self.known: dict[int, Tensor | None] = {}
        self.trained: dict[int, Any] = {}  # loaders whose batches went through backward
        self.only_read: dict[int, Any] = {}  # and those that were read to the end without
        self.pieces: dict[int, Piece] = {}  # rows taken in this step, by where they lie
        self.used: Piece | None = None
        self.cuts: dict[int, list[tuple[int, int, int]]] = {}  # of each tensor taken by indices
        self.backwards = 0
        self.loader: Any = None  # that was last read

    # What is seen

    def on_start(self) -> None:
        self._compare_validation()

    def saw_batch(self, inputs: Tensor, target: Tensor | None, source: Any) -> None:
        stream = self._stream(source)
        if source is not TOLD and not isinstance(source, nn.Module):
            self.trained[id(source)] = source
        if sum(map(len, stream.prints)) < MOST_ROWS and not isinstance(source, nn.Module):
            stream.prints.append(self.prints(inputs))
            if target is not None and target.dim() == 1 and not target.is_floating_point():
                stream.targets.append(target.detach().clone())
        if self.watch.inspecting:
            stream.rich = stream.rich and rich(inputs)
            self._look_for_identical(stream, inputs, target)
        self._look_for_gaps(stream.ends, inputs)

    def on_loader(self, loader: Any) -> None:
        stream = self._stream(loader)
        stream.firsts = stream.firsts + 1 if stream.fetched == 1 and len(stream.prints) == 1 else 0
        if stream.firsts >= 8 and known_length(loader) > 1 and not shuffles(loader):
            self.find(
                "warning",
                "first-batch-only",
                "each step starts the DataLoader anew: only its first batch is ever trained on",
                evidence=f"{stream.firsts} times in a row, of {known_length(loader)} batches",
                way_out="iterate over the DataLoader, or keep the iterator and call `next` on it",
            )
        stream.fetched, stream.prints, stream.targets = 0, [], []

    def on_fetched(self, loader: Any, batch: Any) -> None:
        super().on_fetched(loader, batch)
        stream = self._stream(loader)
        stream.fetched += 1
        stream.fetched_ever += 1
        self.loader = loader

    def on_exhausted(self, loader: Any) -> None:
        super().on_exhausted(loader)
        if loader is None:
            return
        stream = self._stream(loader)
        if stream.fetched == 0:
            self._empty(loader, stream)
        elif len(stream.prints) == stream.fetched:
            self._epoch_over(stream)
        elif not stream.prints and id(loader) not in self.trained:
            self.only_read[id(loader)] = loader

    def on_epoch_end(self) -> None:
        if self.told:
            self._epoch_over(self._stream(TOLD))

    def before_backward(self, losses: Sequence[Tensor]) -> None:
        super().before_backward(losses)
        self.backwards += 1
        self.pieces, self.used = {}, None

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        super().before_forward(model, inputs)
        if self.pieces and inputs and isinstance(inputs[0], Tensor) and has_weights(model):
            self.used = self._piece(inputs[0]) or self.used

    def after_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        if getattr(function, "__name__", "") == "__getitem__" and torch.is_grad_enabled():
            self._taken(arguments[0], arguments[1], result)
        elif pair := loss_pair(function, arguments, keywords):
            self._look_for_misaligned(pair[1])

    def on_end(self) -> None:
        for stream in self.streams.values():
            self._never_used(stream, at_end=True)
        self._compare_loaders()
        if (
            self.watch.facts.get("epochs")
            and not self.backwards
            and not any(self.watch.steps.values())
        ):
            self.find(
                "error",
                "no-training",
                "watching is over, and not a single step was made",
                evidence=f"{self.watch.epoch - 1} epochs, 0 steps",
                way_out="see whether the loop gets any batch",
                place="",
            )

    # What is judged

    def _empty(self, loader: Any, stream: Stream) -> None:
        size = sized(getattr(loader, "dataset", None))
        if size == 0:
            return
        before = stream.fetched_ever
        self.find(
            "error",
            "no-training",
            "the DataLoader gives no batch"
            + (" any more: what it reads from is used up" if before else " at all"),
            evidence=f"{size if size is not None else 'some'} rows, batch size "
            f"{loader.batch_size}, drop_last={loader.drop_last}",
            way_out="make the batch smaller or leave out drop_last"
            if not before
            else "let the dataset begin anew each time it is iterated over",
        )

    def _epoch_over(self, stream: Stream) -> None:
        if not stream.prints:
            return
        prints = torch.cat(stream.prints).cpu()
        stream.epochs += 1
        size = stream.batch_size
        data = self._data(stream, prints)
        doubled = len(prints) - len(torch.unique(prints))
        self._look_for_doubled(stream, prints, doubled, data)
        self._look_for_sorted(stream)
        if stream.last is not None and len(stream.prints) > 1:
            self._look_at_order(stream, prints)
        if data is not None and doubled <= FEW * len(prints):
            self._look_for_dropped(stream, prints, data, size)
        stream.last, stream.prints, stream.targets = prints, [], []

    def _look_for_doubled(
        self, stream: Stream, prints: Tensor, doubled: int, data: Tensor | None
    ) -> None:
        if doubled < 8 or doubled <= FEW * len(prints):
            return
        if data is not None:
            own = len(data) - len(torch.unique(data))
            missing = int((~torch.isin(data, prints)).sum())
            natural = own > FEW * len(data) or missing > FEW * len(data)  # drawn with replacement
        else:
            source = self.loader if stream.source is TOLD else stream.source
            natural = not stream.rich or not each_once(source)
        if natural:
            return
        self.find(
            "warning",
            "rows-duplicated",
            "the same rows come more than once in an epoch",
            evidence=f"{doubled} of {len(prints)} rows are exact copies of others",
            way_out="let the starts of batches be a batch apart; seed each DataLoader worker "
            "differently (torch.initial_seed() in worker_init_fn)",
        )

    def _look_at_order(self, stream: Stream, prints: Tensor) -> None:
        declared = self.watch.expect.get("shuffle", self.watch.facts.get("shuffle"))
        shuffled = declared if stream.source is TOLD else declared or shuffles(stream.source)
        assert stream.last is not None
        if shuffled and torch.equal(prints, stream.last) and len(torch.unique(prints)) > 2:
            self.find(
                "error",
                "order-repeats",
                "data that is to be shuffled comes in the very order of the epoch before",
                evidence=f"{len(prints)} rows, {len(stream.prints)} batches, in the same places",
                way_out="call sampler.set_epoch(epoch), and do not reseed before each epoch",
            )

    def _look_for_dropped(self, stream: Stream, prints: Tensor, data: Tensor, size: int) -> None:
        unused = ~torch.isin(data, prints)
        missing = int(unused.sum())
        if stream.never is None:
            stream.never, stream.fewest_missing = unused, missing
        else:
            stream.never = stream.never & unused
            stream.fewest_missing = min(stream.fewest_missing, missing)
        size = max(size, int(self.watch.facts.get("batch_size") or 0))
        if stream.epochs >= 2:
            self._never_used(stream, size=size)

    def _never_used(self, stream: Stream, *, size: int = 1, at_end: bool = False) -> None:
        if stream.never is None or (at_end and stream.epochs != 1):
            return
        never = int(stream.never.sum())
        size = max(size, int(self.watch.facts.get("batch_size") or 0))
        # A new random share each epoch leaves ever fewer; a tail may be left on purpose.
        if never < size or never < 0.9 * stream.fewest_missing or not between(stream.never):
            return
        self.find(
            "warning",
            "rows-dropped",
            "rows of the data are never trained on",
            evidence=f"{never} of {len(stream.never)} rows in {stream.epochs} epochs; the first "
            f"is row {int(stream.never.nonzero()[0])}",
            way_out="let a batch end where the next begins: x[i : i + n] for i in range(0, len, n)",
        )

    def _look_for_gaps(self, ends: list[tuple[int, int, int]], inputs: Tensor) -> None:
        """Where batches are views of one tensor, its layout tells which rows lie between them."""
        base = inputs._base
        if base is None or inputs.dim() < 2 or not inputs.is_contiguous() or base.dim() < 2:
            return
        width = inputs[0].numel()
        if base.numel() <= inputs.numel() or width != base[0].numel() or len(inputs) < 2:
            return
        first = (int(inputs.storage_offset()) - int(base.storage_offset())) // width
        self._cut(ends, base.data_ptr(), first, first + len(inputs))

    def _cut(self, ends: list[tuple[int, int, int]], whole: int, first: int, end: int) -> None:
        if ends and (ends[-1][0] != whole or first < ends[-1][1]):
            ends.clear()  # another tensor, or a new epoch
        if ends and ends[-1][1:] == (first, end):
            return
        ends.append((whole, first, end))
        del ends[:-4]
        gaps = {after[1] - before[2] for before, after in pairwise(ends)}
        if len(ends) < 4 or len(gaps) != 1:
            return
        gap, size = gaps.pop(), end - first
        if gap <= 0 or gap > 4 * size:
            return
        self.find(
            "warning",
            "rows-dropped",
            "between two batches there are rows that neither has",
            evidence=f"batches of {size} rows begin {size + gap} apart: {gap} of each "
            f"{size + gap} rows are left out",
            way_out="let a batch end where the next begins: x[i : i + n] for i in range(0, len, n)",
        )

    def _look_for_identical(self, stream: Stream, inputs: Tensor, target: Tensor | None) -> None:
        if len(inputs) < 4 or not inputs.is_floating_point() or inputs.stride(0) == 0:
            return
        same = bool((inputs == inputs[:1]).all()) and len(torch.unique(inputs[0])) > 2
        differing = (
            target is None or len(target) != len(inputs) or bool((target != target[:1]).any())
        )
        if not same or not differing:
            stream.alike.clear()
            return
        if not any(torch.equal(inputs[0], row) for row in stream.alike):
            stream.alike.append(inputs[0].detach().clone())
        if len(stream.alike) >= 2:
            self.find(
                "warning",
                "identical-rows",
                "all rows of a batch are the same, though batches differ",
                evidence=f"{len(inputs)} equal rows in each of {len(stream.alike)} batches",
                way_out="return a new tensor from the dataset, not one buffer that is overwritten",
            )

    def _look_for_sorted(self, stream: Stream) -> None:
        if len(stream.targets) < 4 or len(stream.targets) != len(stream.prints):
            return
        everything = torch.cat(stream.targets)
        whole = entropy(everything)
        batches = [batch for batch in stream.targets if len(batch) >= 8]
        if len(batches) < 4 or whole < 0.3 or len(everything) < 32:
            return
        within = sum(entropy(batch) for batch in batches) / len(batches)
        if within < 0.35 * whole and torch.unique(everything).numel() <= len(everything) / 8:
            self.find(
                "warning",
                "label-sorted-batches",
                "batches hold one class each: the data is sorted by its label",
                evidence=f"entropy of labels {within:.2f} within a batch, {whole:.2f} over all",
                way_out="shuffle: shuffle=True, or x[order] and y[order] for one random order",
            )

    # Rows taken by indices

    def _taken(self, whole: Any, index: Any, piece: Any) -> None:
        """Note which rows a batch was made of."""
        if not isinstance(piece, Tensor) or whole.dim() == 0 or piece.numel() == 0:
            return
        rows: Tensor | None = None
        if isinstance(index, slice):
            rows = torch.tensor(index.indices(len(whole)))
        elif isinstance(index, Tensor) and index.dim() == 1 and not index.is_floating_point():
            rows = index.detach()
            base = index._base
            if base is not None and base.dim() == 1 and len(base) == len(whole) and len(index) > 1:
                first = int(index.storage_offset()) - int(base.storage_offset())
                cuts = self.cuts.setdefault(whole.data_ptr(), [])
                self._cut(cuts, 0, first, first + len(index))
        elif isinstance(index, list) and index and isinstance(index[0], int):
            rows = torch.tensor(index)
        if rows is not None:
            home = whole.untyped_storage().data_ptr()
            self.pieces[piece.data_ptr()] = Piece(ref(piece), home, len(whole), rows.clone())

    def _piece(self, tensor: Tensor) -> Piece | None:
        """Return what is known of a piece, unless its memory has been given to another since."""
        piece = self.pieces.get(tensor.data_ptr())
        return piece if piece and piece.tensor() is not None else None

    def _look_for_misaligned(self, target: Tensor) -> None:
        mine, yours = self.used, self._piece(target)
        if mine is None or yours is None or mine.home == yours.home or mine.of != yours.of:
            return
        if mine.rows.shape == yours.rows.shape and not torch.equal(mine.rows, yours.rows):
            self.find(
                "warning",
                "rows-misaligned",
                "inputs and target of a batch are taken from different rows",
                evidence=f"rows {shown(mine.rows)} and rows {shown(yours.rows)}",
                way_out="use the same indices for both",
            )

    # Training and validation

    def _compare_validation(self) -> None:
        pairs = [self.watch.facts.get(name) for name in ("data", "validation")]
        (train, _), (held, _) = (parts(pair) for pair in pairs)
        if not is_rows(train) or not is_rows(held) or train.shape[1:] != held.shape[1:]:
            return
        mine, theirs = self.prints(train).cpu(), self.prints(held).cpu()
        natural = 1 - len(torch.unique(mine)) / len(mine)
        both = int(torch.isin(theirs, mine).sum())
        if both and both > (FEW + 2 * natural) * len(theirs):
            self._overlap("error", both, len(theirs))

    def _compare_loaders(self) -> None:
        for one in self.trained.values():
            for other in self.only_read.values():
                first, second = (getattr(loader, "dataset", None) for loader in (one, other))
                if not isinstance(first, Subset) or not isinstance(second, Subset):
                    continue
                mine, theirs = set(first.indices), set(second.indices)
                if first.dataset is second.dataset and mine != theirs and mine & theirs:
                    self._overlap("error", len(mine & theirs), len(theirs))

    def _overlap(self, level: Any, both: int, rows: int) -> None:
        self.find(
            level,
            "train-val-overlap",
            "rows of the validation data are training data too",
            evidence=f"{both} of {rows} validation rows",
            way_out="split once, by one permutation, and keep the shares apart",
        )

    def _data(self, stream: Stream, prints: Tensor) -> Tensor | None:
        """Return the fingerprints of the data that the batches were taken from, if it is known."""
        if id(stream.source) not in self.known:
            data, _ = parts(self.watch.facts.get("data"))
            if stream.source is not TOLD:
                tensors = getattr(getattr(stream.source, "dataset", None), "tensors", None)
                data = tensors[0] if tensors else None
                if not each_once(stream.source):
                    data = None
            known = None if data is None or len(data) > MOST_ROWS else self.prints(data).cpu()
            if known is not None and torch.isin(prints, known).double().mean() < 0.9:
                known = None  # the batches are something else, or were changed on the way
            self.known[id(stream.source)] = known
        return self.known[id(stream.source)]

    def _stream(self, source: Any) -> Stream:
        return self.streams.setdefault(id(source), Stream(source))


def rich(rows: Tensor) -> bool:
    """Say whether rows hold so much that two of them are never equal by chance."""
    if not rows.is_floating_point() or rows[0].numel() < 3:
        return False
    return len(torch.unique(rows[: min(len(rows), 4)])) > 6


def shuffles(loader: Any) -> bool:
    """Say whether a DataLoader is asked for a new order each time."""
    sampler = getattr(loader, "sampler", None)
    if isinstance(sampler, DistributedSampler):
        return bool(sampler.shuffle)
    return isinstance(sampler, RandomSampler)


def each_once(loader: Any) -> bool:
    """Say whether a DataLoader is to give each row of its dataset once."""
    sampler = getattr(loader, "sampler", None)
    dataset = getattr(loader, "dataset", None)
    if isinstance(dataset, Subset) and len(set(dataset.indices)) < len(dataset.indices):
        return False
    if isinstance(sampler, RandomSampler):
        return not sampler.replacement
    return isinstance(sampler, SequentialSampler)


def known_length(loader: Any) -> int:
    """Return how many batches a DataLoader has; 0 if it does not know."""
    return sized(loader) or 0


def sized(content: Any) -> int | None:
    """Return how long something is, if it knows."""
    try:
        return len(content)
    except (TypeError, NotImplementedError):
        return None


def between(unused: Tensor) -> bool:
    """Say whether unused rows lie between used ones, not only before or after all of them."""
    used = (~unused).nonzero()
    return len(used) > 0 and bool(unused[int(used[0]) : int(used[-1])].any())


def entropy(labels: Tensor) -> float:
    """Return the entropy of labels, in nats."""
    counts = torch.unique(labels, return_counts=True)[1].double()
    shares = counts / counts.sum()
    return float(-(shares * shares.log()).sum())


def shown(rows: Tensor) -> str:
    """Return the first of some row numbers as text."""
    return ", ".join(map(str, rows[:3].tolist())) + ", ..."


EXPLAINED: dict[str, str] = {
    "rows-dropped": """\
Some rows of the data never reach the model: batches do not begin where the one before ends.
The loss falls all the same, on what is left.

Wrong:

    for i in range(0, len(x), 4):
        step(x[i : i + 3], y[i : i + 3])

Right:

    for i in range(0, len(x), 4):
        step(x[i : i + 4], y[i : i + 4])
""",
    "rows-duplicated": """\
An epoch holds exact copies of rows that the data has once: workers draw the same random
numbers, or the dataset mixes up its index.

Wrong:

    def __getitem__(self, i):
        return self.x[i // 2], self.y[i // 2]

Right:

    def __getitem__(self, i):
        return self.x[i], self.y[i]
""",
    "rows-misaligned": """\
Inputs and target of a batch come from different rows, so the labels are others'.

Wrong:

    step(x[torch.randperm(n)], y[torch.randperm(n)])

Right:

    order = torch.randperm(n)
    step(x[order], y[order])
""",
    "order-repeats": """\
Data that is to be shuffled comes in the same order in each epoch.

Wrong:

    for epoch in range(epochs):
        torch.manual_seed(0)
        for batch in loader: ...

Right:

    for epoch in range(epochs):
        sampler.set_epoch(epoch)  # of a DistributedSampler
        for batch in loader: ...
""",
    "identical-rows": """\
All rows of a batch are one: the dataset returns a buffer that it overwrites.

Wrong:

    self.buffer.copy_(row)
    return self.buffer

Right:

    self.buffer.copy_(row)
    return self.buffer.clone()
""",
    "train-val-overlap": """\
Rows that validation uses are trained on, so validation tells nothing of unseen data.

Wrong:

    train, held = x, x[:64]

Right:

    train, held = x[64:], x[:64]
""",
    "no-training": """\
A DataLoader gives no batch, or a run ends without a step.

Wrong:

    DataLoader(data, batch_size=64, drop_last=True)  # of 32 rows

Right:

    DataLoader(data, batch_size=16)
""",
    "first-batch-only": """\
Each step starts the DataLoader anew, so only its first batch is ever used.

Wrong:

    for step in range(steps):
        x, y = next(iter(loader))

Right:

    for x, y in loader:
        ...
""",
    "label-sorted-batches": """\
Batches hold one class each: the data is sorted by label and not shuffled.

Wrong:

    DataLoader(sorted_by_label, batch_size=32)

Right:

    DataLoader(sorted_by_label, batch_size=32, shuffle=True)
""",
}
