"""The lab: programs that train, right and wrong, with a watch on them or without.

A program takes `lab` and `bug`. It trains a small model by a loop of its own, inside
`with lab.watch(...) as watch:`, and returns the models whose parameters tell whether watching has
disturbed anything. `bug=True` is the mistake, `bug=False` the least change that puts it right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import nnhooks


@dataclass(frozen=True)
class Pair:
    """A program with a mistake and its twin without; `rules` are those that may name it first."""

    id: str
    rules: tuple[str, ...]
    program: Callable[[Lab, bool], Any]


@dataclass(frozen=True)
class Clean:
    """A program that is right, however wrong it looks."""

    id: str
    program: Callable[[Lab], Any]


PAIRS: list[Pair] = []
CLEAN: list[Clean] = []


def pair(id: str, *rules: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a program `(lab, bug)` into the corpus; any of `rules` is the right one."""

    def enter(program: Callable[..., Any]) -> Callable[..., Any]:
        PAIRS.append(Pair(id, rules, program))
        return program

    return enter


def clean(id: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a program `(lab)` that has no mistake."""

    def enter(program: Callable[..., Any]) -> Callable[..., Any]:
        CLEAN.append(Clean(id, program))
        return program

    return enter


class Lab:
    """Runs programs under the watch that everyone gets, and keeps what it finds."""

    def __init__(self) -> None:
        self.findings: list[nnhooks.Finding] = []

    @contextmanager
    def watch(self, *arguments: Any, **facts: Any) -> Iterator[Any]:
        """Watch as `nnhooks.watch` does."""
        with nnhooks.watch(*arguments, **facts) as watch:
            yield watch
        self.findings += watch.findings

    def probe(self, *arguments: Any, **facts: Any) -> None:
        """Try out model, loss and data as `nnhooks.probe` does."""
        self.findings += nnhooks.probe(*arguments, **facts)


class Alone(Lab):
    """Runs programs with nobody watching."""

    @contextmanager
    def watch(self, *arguments: Any, **facts: Any) -> Iterator[Any]:
        yield Nobody()

    def probe(self, *arguments: Any, **facts: Any) -> None:
        pass


class Nobody:
    """Stands where a watch would, and looks away."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **keywords: None


# What programs are made of


def blobs(n: int = 256, d: int = 10, c: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return points around `c` centres, and which is whose: (n, d) float32 and (n,) int64."""
    centres = torch.randn(c, d, generator=torch.Generator().manual_seed(99)) * 2
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, c, (n,), generator=generator)
    return centres[labels] + torch.randn(n, d, generator=generator), labels


def line(n: int = 256, d: int = 10, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return points and a noisy linear function of them: (n, d) and (n, 1) float32."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator)
    weights = torch.randn(d, generator=torch.Generator().manual_seed(5))
    noise = 0.05 * torch.randn(n, generator=generator)
    return x, (x @ weights / d**0.5 + noise).unsqueeze(1)


def mlp(d: int = 10, h: int = 32, c: int = 4, drop: float = 0.0, bn: bool = False) -> nn.Sequential:
    """Return an MLP with two hidden layers."""
    layers: list[nn.Module] = [nn.Linear(d, h)]
    layers += [nn.BatchNorm1d(h)] if bn else []
    layers += [nn.ReLU()]
    layers += [nn.Dropout(drop)] if drop else []
    return nn.Sequential(*layers, nn.Linear(h, h), nn.ReLU(), nn.Linear(h, c))


def sgd(model: nn.Module, lr: float = 0.05, **options: Any) -> torch.optim.SGD:
    """Return plain SGD over all parameters of a model."""
    return torch.optim.SGD(model.parameters(), lr=lr, **options)


def told(
    watch: Any, x: Tensor, y: Tensor, *, epochs: int = 2, batch_size: int = 32, shuffle: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches, and tell the watch of each batch and each end of an epoch."""
    for _ in range(epochs):
        watch.train()
        order = torch.randperm(len(x)) if shuffle else torch.arange(len(x))
        for rows in order.split(batch_size):
            watch.batch(x[rows], y[rows])
            yield x[rows], y[rows]
        watch.epoch_end()


def fit(
    lab: Lab,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    loss: Callable[[Any, Tensor], Tensor] = F.cross_entropy,
    *,
    step: Callable[[Tensor, Tensor], object] | None = None,
    epochs: int = 2,
    batch_size: int = 32,
    shuffle: bool = True,
    **facts: Any,
) -> nn.Module:
    """Train by the documented step, or by `step(x, y)`, under the lab's watch."""
    about = {"data": (x, y), "batch_size": batch_size, "shuffle": shuffle, "epochs": epochs}
    with lab.watch(model, optimizer, **{**about, **facts}) as watch:
        model.train()
        for inputs, target in told(
            watch, x, y, epochs=epochs, batch_size=batch_size, shuffle=shuffle
        ):
            if step:
                step(inputs, target)
                continue
            optimizer.zero_grad()
            loss(model(inputs), target).backward()
            optimizer.step()
    return model
