"""Rows: the samples of a batch, wherever its tensors keep them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def tensors(value: Any) -> list[Tensor]:
    """Return the tensors inside a value, in the order in which they are kept."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for one in value.values() for tensor in tensors(one)]
    if isinstance(value, list | tuple):
        return [tensor for one in value for tensor in tensors(one)]
    return []


def changed(function: Callable[[Tensor], Any], value: Any) -> Any:
    """Return the value with `function` applied to each tensor in it."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return type(value)({name: changed(function, one) for name, one in value.items()})
    if isinstance(value, list | tuple):
        inside = [changed(function, one) for one in value]
        return type(value)(*inside) if hasattr(value, "_fields") else type(value)(inside)
    return value


class Rows:
    """How the rows of a batch lie in its tensors: `count` of them, along `axis` where they can."""

    def __init__(self, count: int, axis: int = 0) -> None:
        self.count, self.axis = count, axis

    def axis_of(self, tensor: Tensor) -> int | None:
        """Return the dimension that counts rows, if there is one."""
        for axis in (self.axis, 0, 1):
            if tensor.ndim > axis and tensor.shape[axis] == self.count:
                return axis
        return None

    def flattened(self, tensor: Tensor) -> bool:
        """Say whether each row has been laid out as several, one row after the other."""
        long = tensor.ndim > 0 and len(tensor) > self.count > 1
        return self.axis_of(tensor) is None and long and len(tensor) % self.count == 0

    def has(self, tensor: Tensor) -> bool:
        """Say whether a tensor has something of each row."""
        return self.axis_of(tensor) is not None or self.flattened(tensor)

    def take(self, value: Any, which: Tensor) -> Any:
        """Return a value with these rows, in this order; what has no rows stays as it is."""
        if isinstance(value, list) and len(value) == self.count and not self._holds_rows(value):
            return [value[row] for row in which.tolist()]  # a list with one thing for each row
        return changed(lambda tensor: self._taken(tensor, which), value)

    def _holds_rows(self, values: list[Any]) -> bool:
        return any(self.has(tensor) for tensor in tensors(values))

    def _taken(self, tensor: Tensor, which: Tensor) -> Tensor:
        which = which.to(tensor.device)
        axis = self.axis_of(tensor)
        if axis is not None:
            return tensor.index_select(axis, which)
        if self.flattened(tensor):
            parts = torch.unflatten(tensor, 0, (self.count, -1))
            return parts.index_select(0, which).flatten(0, 1)
        return tensor

    def aligned(self, tensor: Tensor) -> Tensor:
        """Return a tensor that has rows as (row, everything else of it)."""
        axis = self.axis_of(tensor)
        if axis is None:
            return tensor.reshape(self.count, -1)
        return tensor.movedim(axis, 0).reshape(self.count, -1)

    def all(self) -> Tensor:
        """Return the numbers of all rows."""
        return torch.arange(self.count)


def rows_of(inputs: Any, target: Any, axis: int = 0) -> int:
    """Return how many rows a batch has: as many as its target, where the inputs agree."""
    for first, others in ((target, inputs), (inputs, target)):
        for tensor in tensors(first):
            at = axis if tensor.ndim > axis else 0
            if not tensor.ndim:
                continue
            count = tensor.shape[at]
            if not tensors(others) or any(count in one.shape[:2] for one in tensors(others)):
                return int(count)
    found = [one.shape[axis if one.ndim > axis else 0] for one in tensors(inputs) if one.ndim]
    return int(found[0]) if found else 0


def fewer(inputs: Any, target: Any, count: int, most: int, axis: int = 0) -> int:
    """Return how many rows to try with: few, and no number that another dimension has too."""
    if count <= 3:
        return count
    dimensions = {
        size
        for tensor in [*tensors(inputs), *tensors(target)]
        for size in (*tensor.shape[:axis], *tensor.shape[axis + 1 :])
    }
    wanted = range(min(count, most), 3, -1)
    return next((number for number in wanted if number not in dimensions), min(count, most))


def distance(one: Any, other: Any) -> float:
    """Return the largest difference between two values of the same make, NaN for NaN."""
    pairs = list(zip(tensors(one), tensors(other), strict=True))
    return max((gap(a, b) for a, b in pairs), default=0.0)


def gap(one: Tensor, other: Tensor) -> float:
    """Return the largest difference between two tensors; infinite where the shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    if not one.numel():
        return 0.0
    kind = torch.complex128 if one.is_complex() else torch.float64
    difference = (one.detach().to(kind) - other.detach().to(kind)).abs()
    both = torch.isnan(one.detach().to(kind)) & torch.isnan(other.detach().to(kind))
    same = both | (one.detach() == other.detach())  # which infinities may be
    return float(
        torch.where(same, torch.zeros_like(difference), difference).nan_to_num(1e308).max()
    )


def scale(value: Any) -> float:
    """Return the largest finite size among the numbers of a value; 1 where all are smaller."""
    sizes = [one.detach().abs().double() for one in tensors(value) if one.numel()]
    return max([1.0, *(float(torch.where(s.isfinite(), s, 0.0).max()) for s in sizes)])
