"""Batches: where they come from, in which order, and how several make up one step."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import chain, islice
from math import ceil
from typing import Annotated, Any, Protocol, TypeVar, cast

import torch
from annotated_types import Ge
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, get_worker_info

Batch = tuple[Any, Any]
T = TypeVar("T")

BATCHES_A_BLOCK = 64  # rows are gathered in blocks: few index operations, little extra memory


class DataError(ValueError):
    """Data that cannot be trained on, and why."""


class Epochs(Protocol):
    """Batches that know by themselves where any epoch goes on; nothing has to be read again."""

    def one_epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of this epoch (the first is 1) from number `start` (0 is the first)."""
        ...


class Batches:
    """Batches (inputs, target) of a map-style dataset.

    Their order is a function of `seed` and the epoch alone, so any epoch can be taken up again at
    any batch. A TensorDataset is cut directly, without collecting it row by row.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: Annotated[int, Ge(1)] = 32,
        shuffle: bool = False,
        seed: int = 0,
        workers: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.workers = workers

    def __len__(self) -> int:
        return ceil(len(cast(Any, self.dataset)) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return self.one_epoch(1)

    def one_epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of this epoch (the first is 1) from number `start` (0 is the first)."""
        if start >= len(self):
            return iter(())  # torch splits even nothing into one part
        if isinstance(self.dataset, TensorDataset):
            return self._cut(self.dataset.tensors, epoch, start)
        return self._load(epoch, start)

    def _order(self, epoch: int) -> Tensor:
        rows = len(cast(Any, self.dataset))
        if not self.shuffle:
            return torch.arange(rows)
        return torch.randperm(rows, generator=generator("order", self.seed, epoch))

    def _cut(self, tensors: tuple[Tensor, ...], epoch: int, start: int) -> Iterator[Batch]:
        first = start * self.batch_size
        if not self.shuffle:
            yield from split([tensor[first:] for tensor in tensors], self.batch_size)
            return
        for rows in self._order(epoch)[first:].split(BATCHES_A_BLOCK * self.batch_size):
            yield from split([tensor[rows] for tensor in tensors], self.batch_size)

    def _load(self, epoch: int, start: int) -> Iterator[Batch]:
        rows = self._order(epoch).split(self.batch_size)[start:]
        loader: DataLoader[Any] = DataLoader(
            Seeded(self.dataset, self.seed, epoch) if self.workers else self.dataset,
            batch_sampler=[batch.tolist() for batch in rows],
            num_workers=self.workers,
            generator=generator("loader", self.seed, epoch),  # the global one is the model's
        )
        return iter(loader)


class Seeded(Dataset[Any]):
    """A dataset whose randomness in a worker is a function of seed, epoch and row.

    Which worker loads a row depends on where the epoch was taken up; its augmentation must not.
    """

    def __init__(self, dataset: Dataset[Any], seed: int, epoch: int) -> None:
        self.dataset, self.seed, self.epoch = dataset, seed, epoch

    def __len__(self) -> int:
        return len(cast(Any, self.dataset))

    def __getitem__(self, row: int) -> Any:
        if get_worker_info() is not None:
            import numpy as np

            number = key("row", self.seed, self.epoch, row)
            random.seed(number)
            np.random.seed(number % 2**32)
            torch.default_generator.manual_seed(number)
        return self.dataset[row]


class Mapped:
    """Batches that pass through a function on their way to the model; see `mapped`."""

    def __init__(self, batches: Iterable[Batch], function: Callable[[Batch], Batch]) -> None:
        self.batches, self.function = batches, function

    def __len__(self) -> int:
        return len(cast(Any, self.batches))

    def __iter__(self) -> Iterator[Batch]:
        return map(self.function, self.batches)

    def one_epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of this epoch (the first is 1) from number `start` (0 is the first)."""
        return map(self.function, one_epoch(self.batches, epoch, start))


def mapped(batches: Iterable[Batch], function: Callable[[Batch], Batch]) -> Mapped:
    """Dress `batches`: each passes through `function`; an epoch can still be taken up anywhere."""
    return Mapped(batches, function)


def one_epoch(batches: Iterable[Batch], epoch: int, start: int = 0) -> Iterator[Batch]:
    """Return the batches of this epoch (the first is 1) from number `start` (0 is the first).

    What has no `one_epoch` of its own is read from its beginning, and what comes before `start`
    is dropped here and now, with the randomness that reading it draws.
    """
    if hasattr(batches, "one_epoch"):
        return cast(Epochs, batches).one_epoch(epoch, start)
    if hasattr(batches, "set_epoch"):
        batches.set_epoch(epoch)
    rest = iter(batches)
    if start:
        next(islice(rest, start - 1, start), None)
    return rest


def draws_randomness(batches: Iterable[Batch]) -> bool:
    """Say whether reading these batches may draw random numbers from the global generators."""
    if isinstance(batches, Mapped):
        return draws_randomness(batches.batches)
    return not (hasattr(batches, "one_epoch") or isinstance(batches, Sequence))


def grouped(items: Iterable[T], size: int | None) -> Iterator[tuple[T, ...]]:
    """Return `items` in tuples of `size`; the last may be shorter. None means all in one."""
    if size == 1:
        return zip(items)  # each step pays for what lies between two batches
    rest = iter(items)
    return iter(lambda: tuple(islice(rest, size)), ())


def weighted(batches: Sequence[Batch]) -> Iterable[tuple[Any, Any, Tensor | None]]:
    """Return (inputs, target, share): d(loss of the step) / d(loss of this batch), by its samples.

    The share of a lone batch is None, as `Tensor.backward` spells "all of it".
    """
    if len(batches) == 1:
        return ((*pair(batches[0]), None),)
    sizes = [samples(batch) for batch in batches]
    shares = (torch.tensor(size / sum(sizes)) for size in sizes)
    return ((*pair(batch), share) for batch, share in zip(batches, shares, strict=True))


def pair(batch: Any) -> Batch:
    """Return the (inputs, target) that a batch should be."""
    try:
        if not isinstance(batch, dict | Tensor):  # two keys, or two rows, are no pair
            inputs, target = batch
            return inputs, target
    except (TypeError, ValueError):
        pass
    raise DataError(f"a batch should be (inputs, target), got {shape(batch)}")


def samples(batch: Batch) -> int:
    """Count the samples of a batch: the rows of its target, or of its inputs without one."""
    inputs, target = pair(batch)
    return rows(inputs if target is None else target)


def rows(value: Any) -> int:
    """Count the rows of the first tensor in a value; what has none of its own is one row."""
    if isinstance(value, dict | list | tuple):
        inside = value.values() if isinstance(value, dict) else value
        return next((rows(one) for one in inside if isinstance(one, Tensor)), len(value))
    return len(value) if getattr(value, "ndim", 0) else 1


def shape(value: object) -> str:
    """Describe a value by its shape: a tensor as (3, 2) float32, anything else by what it holds."""
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, dict):
        return f"a dict of {', '.join(map(str, value))}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else type(value).__name__


def split(tensors: Iterable[Tensor], size: int) -> Iterator[Batch]:
    """Return rows of the tensors side by side, `size` at a time; the last may be fewer."""
    parts = zip(*(tensor.split(size) for tensor in tensors), strict=True)
    return cast(Iterator[Batch], parts)


def held_out(
    rows: int, share: float, seed: int, labels: Sequence[Any] | None = None
) -> tuple[list[int], list[int]]:
    """Return the rows to train on and those held out, `share` of each label (at least one)."""
    order = torch.randperm(rows, generator=generator("held out", seed)).tolist()
    kinds: dict[Any, list[int]] = {}
    for row in order:
        kinds.setdefault(labels[row] if labels is not None else None, []).append(row)
    counts = {kind: max(1, round(len(members) * share)) for kind, members in kinds.items()}
    held = chain.from_iterable(members[: counts[kind]] for kind, members in kinds.items())
    kept = chain.from_iterable(members[counts[kind] :] for kind, members in kinds.items())
    return sorted(kept), sorted(held)


def generator(*counters: object) -> torch.Generator:
    """Return a random generator that is a function of these counters alone."""
    return torch.Generator().manual_seed(key(*counters))


def key(*counters: object) -> int:
    """Hash counters to a 63-bit seed, the same on every machine."""
    return int.from_bytes(blake2b(repr(counters).encode(), digest_size=8).digest()) >> 1
