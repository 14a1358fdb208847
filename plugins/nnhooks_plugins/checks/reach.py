"""Targets that no output can reach: the last operation gives other numbers than are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nnhooks import Check
from nnhooks.watching.origins import Origin

from ._residuals import Residual, Residuals

TOLERATED = 0.05  # of the targets may lie outside: outliers
GRAVE = 0.25  # of the variance of the targets stays in the loss for ever
EXPLAINED = {
    "target-unreachable": """
The last operation of a model bounds its outputs: a softmax or sigmoid to 0..1, a tanh to -1..1, a
ReLU to at least 0. A target outside can never be reached; the loss falls to a floor and stays
there, and the outputs saturate.

Wrong:
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
    loss = F.mse_loss(model(x), y)              # y holds 4, 5 and 6

Right, if they are amounts:
    model = nn.Linear(4, 1)
    loss = F.mse_loss(model(x).squeeze(1), y)

Right, if they are names of classes:
    model = nn.Linear(4, 3)
    loss = F.cross_entropy(model(x), y - 4)     # class numbers 0, 1, 2
""",
}


@dataclass(frozen=True)
class Gap:
    """What lies between targets and the nearest that can be reached."""

    function: str
    between: tuple[float, float]
    targets: tuple[float, float]
    outside: float  # the share of targets
    floors: dict[int, float]  # by power: the least mean of what cannot be closed
    exact: bool
    numbers: int
    variance: float


class Reach(Check):
    """Looks where predictions meet targets: can the last operation give such numbers at all?"""

    def on_start(self) -> None:
        self.residuals = Residuals(self.watch, self._gap)

    def after_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        residual = self.residuals.follow(function, arguments, keywords, result)
        if residual and residual.power is not None:
            self._report(residual, result)

    def _gap(self, prediction: Tensor, target: Tensor, result: Tensor | None) -> Gap | None:
        origin = self.watch.origins[prediction]
        if not origin.bounded or not target.numel() or not prediction.numel():
            return None
        shape = torch.broadcast_shapes(prediction.shape, target.shape)
        wanted = target.detach().double().expand(shape)
        if not bool(wanted.isfinite().all()):
            return None
        gaps, whole = distances(wanted, origin, tuple(prediction.shape) == tuple(shape))
        outside = float((gaps > 1e-3).double().mean())
        if outside <= TOLERATED:
            return None
        ends = float(target.min()), float(target.max())
        floors = {2: float((gaps**2).mean()), 1: float(gaps.mean())}
        variance = float(target.double().var(unbiased=False))
        between = origin.low, origin.high
        exact = tuple(prediction.shape) == tuple(shape)
        if whole:
            del floors[1]  # the nearest in squares is not the nearest in amounts
        return Gap(origin.function, between, ends, outside, floors, exact, gaps.numel(), variance)

    def _report(self, residual: Residual[Gap], loss: Any) -> None:
        gap, power = residual.about, residual.power or 0
        floor, words = gap.floors.get(power), ""
        if floor is not None and residual.reduced in ("mean", "sum"):
            floor *= residual.scale * (gap.numbers if residual.reduced == "sum" else 1)
            words = f"; the loss cannot fall below {floor:.4g}"
        low, high = gap.between
        gives = (
            f"{low:g} to {high:g}"
            if max(abs(low), abs(high)) < 1e30
            else (f"at least {low:g}" if low > -1e30 else f"at most {high:g}")
        )
        grave = gap.floors.get(2, 0.0) >= GRAVE * gap.variance
        one = isinstance(loss, Tensor) and loss.numel() == 1
        now = f", loss now {float(loss.detach()):.6g}" if one else ""
        exactly = "floor" if gap.exact else "floor at least"
        self.find(
            "error" if grave else "warning",
            "target-unreachable",
            f"targets {gap.targets[0]:g} to {gap.targets[1]:g} are out of reach of "
            f"{gap.function or 'outputs'} with {gives}{words}",
            evidence=f"{gap.outside:.0%} of the targets lie outside"
            + (f", {exactly} {floor:.6g}{now}" if floor is not None else now),
            way_out="leave out the last operation, scale the targets into its range, or make "
            "classes of the labels and use cross_entropy on logits",
        )


def distances(wanted: Tensor, origin: Origin, whole: bool) -> tuple[Tensor, bool]:
    """Return how far each target is from the nearest that can be reached, as shape of `wanted`.

    Outputs of a softmax sum to 1, so for them a whole row is reached or not; second, whether
    that was taken into account.
    """
    if origin.function == "softmax" and origin.dim is not None and whole:
        rows = wanted.movedim(origin.dim, -1)
        return (rows - nearest_distribution(rows)).abs().movedim(-1, origin.dim), True
    return (wanted - wanted.clamp(origin.low, origin.high)).abs(), False


def nearest_distribution(rows: Tensor) -> Tensor:
    """Project rows onto the probability simplex (Duchi et al., ICML 2008, figure 1)."""
    ordered = rows.sort(dim=-1, descending=True).values
    above = ordered.cumsum(-1) - 1
    counts = torch.arange(1, rows.shape[-1] + 1, dtype=rows.dtype, device=rows.device)
    kept = (ordered - above / counts > 0).sum(-1, keepdim=True)
    threshold = above.gather(-1, kept - 1) / kept
    return (rows - threshold).clamp(min=0)
