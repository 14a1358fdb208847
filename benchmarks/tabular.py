"""A table of 100,000 x 20, an MLP 20-64-64-3, batches of 256, shuffled: data end to end.

    python benchmarks/tabular.py

Targets: no slower than the fastest loop by hand that cuts batches from a tensor, and several times
faster than DataLoader(TensorDataset). The first table trains; the second only reads the batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from timing import interleaved, table
from torch import Tensor, nn
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

from nnhooks import Batches, Trainer

ROWS, BATCH = 100_000, 256
INPUTS, TARGET = torch.randn(ROWS, 20), torch.randint(3, (ROWS,))
DATA = TensorDataset(INPUTS, TARGET)
BATCHES = -(-ROWS // BATCH)

Batch = tuple[Tensor, Tensor]


def indexed() -> Iterator[Batch]:
    """By hand: a batch is gathered by its part of a permutation."""
    for rows in torch.randperm(ROWS).split(BATCH):
        yield INPUTS[rows], TARGET[rows]


def permuted() -> Iterator[Batch]:
    """By hand: the whole table is permuted once, and cut."""
    order = torch.randperm(ROWS)
    yield from zip(INPUTS[order].split(BATCH), TARGET[order].split(BATCH), strict=True)


def ours() -> Iterable[Batch]:
    return Batches(DATA, BATCH, shuffle=True)


def loader() -> Iterable[Batch]:
    return DataLoader(DATA, BATCH, shuffle=True)


def model() -> nn.Module:
    torch.manual_seed(0)
    hidden = [nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(64, 3))


def by_hand(batches: Callable[[], Iterable[Batch]]) -> None:
    network = model()
    optimizer = AdamW(network.parameters())
    for inputs, target in batches():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(inputs), target)
        loss.backward()
        optimizer.step()


def through_trainer() -> None:
    Trainer(model(), nn.functional.cross_entropy, AdamW, ours()).fit(epochs=1)


def read(batches: Callable[[], Iterable[Batch]]) -> None:
    for _ in batches():
        pass


def main() -> None:
    torch.set_num_threads(1)
    training = interleaved(
        {
            "by hand, permuted once": partial(by_hand, permuted),
            "by hand, indexed": partial(by_hand, indexed),
            "Trainer with Batches": through_trainer,
            "by hand, DataLoader": partial(by_hand, loader),
        },
        rounds=9,
    )
    print(table(training, base="by hand, permuted once", per=BATCHES, unit="batch"))
    print()
    reading = interleaved(
        {
            "read: permuted once": partial(read, permuted),
            "read: indexed": partial(read, indexed),
            "read: Batches": partial(read, ours),
            "read: DataLoader": partial(read, loader),
        },
        rounds=9,
    )
    print(table(reading, base="read: permuted once", per=BATCHES, unit="batch"))


if __name__ == "__main__":
    main()
