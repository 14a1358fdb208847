"""Weights: who holds them, where they belong, and small samples that tell whether they move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks import Watch

ELEMENTS = 128  # of each tensor that are kept to see it move
SHOWN = 3  # names in one finding


def tensors(optimizer: Optimizer) -> Iterator[Tensor]:
    """Yield every tensor that an optimizer holds."""
    for group in optimizer.param_groups:
        yield from group["params"]


def held(watch: Watch) -> dict[int, Tensor]:
    """Return the tensors of all known optimizers by identity."""
    return {id(one): one for optimizer in watch.optimizers for one in tensors(optimizer)}


def registered(watch: Watch) -> dict[int, str]:
    """Return the names of the parameters of all known models by identity."""
    return {id(one): name for model in watch.models for name, one in model.named_parameters()}


def sample(tensor: Tensor, elements: int = ELEMENTS) -> Tensor:
    """Return a copy of some elements, spread evenly over a tensor."""
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // elements)][:elements].clone()


def contents(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a nest of tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from contents(list(value.values()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            yield from contents(one)


def listed(names: Iterable[str]) -> str:
    """Return names for a sentence: the first few, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def is_power_of_two(number: int) -> bool:
    """Say whether a count is 1, 2, 4, 8, ...: moments that get rare as training goes on."""
    return number > 0 and number & (number - 1) == 0


def owners(models: Iterable[nn.Module]) -> dict[int, nn.Module]:
    """Return for each parameter, by identity, the module that it is an attribute of."""
    return {
        id(one): module
        for model in models
        for module in model.modules()
        for one in module.parameters(recurse=False)
    }


def same(one: Tensor, other: Tensor) -> bool:
    """Say whether two samples are equal in every bit that counts."""
    return one.shape == other.shape and torch.equal(one, other)


def mark(tensor: Tensor) -> tuple[int, int]:
    """Return what is different after most ways of writing to a tensor; it costs next to nothing."""
    return tensor._version, tensor.data_ptr()
