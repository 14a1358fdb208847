"""Numbers that are none: a loss or a gradient is NaN or infinite, or the loss runs away."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import chain
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from nnhooks import Check

FIRST = 5  # losses that say what is usual at the start
FAR, LONG = 10.0, 8  # so many losses in a row are so many times the largest of the first
FARTHER, SHORT = 100.0, 3

EXPLAINED = {
    "nonfinite-loss": """\
The loss is NaN or infinite, and the optimizer uses what came of it.

One such step makes every weight NaN that the loss depends on: all that follows is wasted.
Usual sources: the logarithm or root of something not positive, 0/0, exp of something large,
a NaN in the data, a learning rate that lets the weights run away.

    loss = (torch.log(prediction) - torch.log(target)).pow(2).mean()              # wrong
    loss = (torch.log(prediction.clamp_min(1e-6)) - torch.log(target)).pow(2).mean()  # right

A GradScaler that leaves out a step is none of this: there the optimizer never steps.
""",
    "nonfinite-grad": """\
The loss is finite but its gradient is not, and the optimizer is about to use it.

The derivative of sqrt and of norm at 0 is infinite, and infinity times 0 is NaN. torch.where
does not help: backward goes through both sides, and the side not taken gives 0 * inf = NaN.

    distance = (x - y).pow(2).sum(1).sqrt()             # wrong: inf where x equals y
    distance = ((x - y).pow(2).sum(1) + 1e-12).sqrt()   # right

    torch.where(x > 0, torch.sqrt(x), 0)                # wrong
    torch.where(x > 0, torch.sqrt(x.clamp_min(1e-12)), 0)  # right
""",
    "loss-explodes": """\
The loss has left the range it began in, and does not come back: training diverges.

Most often the learning rate is too large for this loss (a sum in place of a mean multiplies
the gradient by the size of the batch), or data of a scale of thousands comes in as it is.

    SGD(model.parameters(), lr=10.0)                    # wrong
    SGD(model.parameters(), lr=0.01)                    # right; or warm up, or clip gradients
""",
}


class Finite(Check):
    """Finds losses and gradients that are not finite when they are used, and diverging losses."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: float | None = None  # the loss since the last step, if it is not finite
        self.bad_in_a_row = 0
        self.scaled = False
        self.first: list[float] = []
        self.last: deque[float] = deque(maxlen=LONG)

    def before_backward(self, losses: Sequence[Tensor]) -> None:
        loss = losses[0]
        if len(losses) != 1 or loss.numel() != 1 or (not loss.is_cpu and not self.watch.inspecting):
            return  # to ask a GPU is to wait for it
        value = float(loss.detach())
        if self.scaled:
            return
        if not isfinite(value):
            self.bad, self.bad_in_a_row = value, self.bad_in_a_row + 1
            if self.bad_in_a_row == 3:  # whoever steps, no optimizer of torch's
                self._tell_loss(value)
            return
        self.bad_in_a_row = 0
        self._follow(value)

    def after_scale(self, scaler: Any, losses: Any) -> None:
        self.scaled = True
        if not isinstance(losses, Tensor) or losses.numel() != 1 or not self.watch.inspecting:
            return
        value = float(losses.detach())
        self.bad_in_a_row = 0 if isfinite(value) else self.bad_in_a_row + 1
        if self.bad_in_a_row == 3:
            self._tell_loss(value)

    def before_step(self, optimizer: Optimizer) -> None:
        if self.bad is not None:
            self._tell_loss(self.bad)
            self.bad = None
        elif self.watch.inspecting and not self.found and not scaler_decides(optimizer):
            self._look_at_gradients(optimizer)

    def _tell_loss(self, value: float) -> None:
        if "nonfinite-grad" in self.found:
            return
        self.find(
            "error",
            "nonfinite-loss",
            f"the loss is {value}, and training goes on with it",
            evidence=f"loss {value}",
            way_out="find where it arises (log, sqrt, division, data), or leave such a step out",
        )

    def _look_at_gradients(self, optimizer: Optimizer) -> None:
        for parameter in chain.from_iterable(group["params"] for group in optimizer.param_groups):
            if parameter.grad is None:
                continue
            gradient = parameter.grad
            values = gradient._values() if gradient.is_sparse else gradient
            if not bool(torch.isfinite(values).all()):
                name = self.watch.name(parameter)
                bad = int((~torch.isfinite(values)).sum())
                self.find(
                    "error",
                    "nonfinite-grad",
                    f"the gradient of {name} is not finite, and the optimizer is about to use it",
                    about=name,
                    evidence=f"{bad} of {values.numel()} entries are NaN or infinite",
                    way_out="keep sqrt, norm, log and division away from 0, inside torch.where too",
                )
                return

    def _follow(self, value: float) -> None:
        """Compare with the first losses; of several optimizers each may well raise a loss."""
        if len(self.first) < FIRST:
            self.first.append(value)
            return
        self.last.append(value)
        usual = max(self.first)
        if value <= FAR * usual or min(self.first) <= 0 or len(self.watch.steps) > 1:
            return
        lately = list(self.last)
        long = len(lately) == LONG and min(lately) > FAR * usual
        short = len(lately) >= SHORT and min(lately[-SHORT:]) > FARTHER * usual
        if long or short:
            self.find(
                "warning",
                "loss-explodes",
                "the loss has grown far beyond what it was at the start, and stays there",
                evidence=f"at most {usual:.3g} in the first {FIRST} steps, {value:.3g} now",
                way_out="lower the learning rate, warm it up, or clip the gradients",
            )


def scaler_decides(optimizer: Optimizer) -> bool:
    """Say whether a GradScaler has told a fused optimizer to look for itself what is finite."""
    return getattr(optimizer, "found_inf", None) is not None
