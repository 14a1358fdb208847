"""Residuals: predictions minus targets, squared or not, until they are reduced to a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from torch import Tensor

from nnhooks import Watch
from nnhooks.watching.origins import Known, name_of

T = TypeVar("T")
DISTANCES = {"mse_loss": 2, "l1_loss": 1, "smooth_l1_loss": 0, "huber_loss": 0}  # and their power


@dataclass(frozen=True)
class Residual(Generic[T]):
    """A residual; `about` is what a check has noted when prediction and target met."""

    about: T
    power: int | None = None  # 2: squared, 1: absolute, 0: of another shape, None: not yet any
    scale: float = 1.0
    reduced: str = ""  # "mean" or "sum"


class Residuals(Generic[T]):
    """Follows what `note(prediction, target, result)` finds remarkable until it is a loss."""

    def __init__(self, watch: Watch, note: Callable[[Tensor, Tensor, Any], T | None]) -> None:
        self.watch, self.note = watch, note
        self.known: Known[Residual[T] | None] = Known(None)

    def follow(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> Residual[T] | None:
        """Return a residual that has just become a loss."""
        name = name_of(function)
        if name in DISTANCES:
            return self._distance(name, arguments, keywords, result)
        if not isinstance(result, Tensor) or not arguments:
            return None
        if name in ("sub", "rsub", "isub") and len(arguments) > 1:
            met = sides(self.watch, *arguments[:2])
            about = self.note(*met, result) if met else None
            if about is not None:
                self.known[result] = Residual(about)
            return None
        return self._changed(name, arguments, result)

    def _distance(
        self, name: str, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> Residual[T] | None:
        given = dict(zip(("input", "target"), arguments, strict=False)) | dict(keywords)
        met = sides(self.watch, given.get("input"), given.get("target"))
        about = self.note(*met, None) if met else None
        if about is None:
            return None
        reduced = keywords.get("reduction", "mean")
        if reduced == "none":
            self.known[result] = Residual(about, DISTANCES[name])
            return None
        return Residual(about, DISTANCES[name], reduced=reduced)

    def _changed(self, name: str, arguments: Sequence[Any], result: Tensor) -> Residual[T] | None:
        source, other = arguments[0], arguments[1] if len(arguments) > 1 else None
        residual = self.known[source]
        if residual is None:
            return None
        if residual.power is None:
            power = {"square": 2, "abs": 1}.get(name)
            if (name == "pow" and other == 2) or (name == "mul" and other is source):
                power = 2
            if power:
                self.known[result] = replace(residual, power=power)
        elif name in ("mul", "rmul", "div", "truediv") and isinstance(other, int | float):
            scale = residual.scale * other if "mul" in name else residual.scale / other
            self.known[result] = replace(residual, scale=scale)
        elif name in ("mean", "sum"):
            return replace(residual, reduced=name if result.ndim == 0 else "partly")
        return None


def sides(watch: Watch, one: Any, other: Any) -> tuple[Tensor, Tensor] | None:
    """Return which of two tensors is the prediction and which the target; None: neither is."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return None
    for prediction, target in ((one, other), (other, one)):
        made = prediction.requires_grad and not prediction.is_leaf
        if made and not target.requires_grad:
            return prediction, target
    for prediction, target in ((one, other), (other, one)):
        if watch.origins[prediction].answer and not watch.origins[target].answer:
            return prediction, target
    return None
