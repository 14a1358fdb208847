"""Steps that climb the loss: a sign is wrong, in the loss or in the step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import ref

import torch
from torch import Tensor
from torch.optim import Optimizer

from nnhooks import Check

IN_A_ROW = 3  # steps
CLEARLY = 0.5  # cosine between gradient and step
SAMPLE = 256  # numbers of each parameter
EXPLAINED = {
    "loss-negated": """
Minus a loss that can grow without end has no least value: training makes the predictions as wrong
as it can. The same happens when the minus sign of a log-likelihood is forgotten.

Wrong:
    loss = -F.cross_entropy(model(x), y)
    loss = F.log_softmax(model(x), 1)[range(len(y)), y].mean()

Right:
    loss = F.cross_entropy(model(x), y)
    loss = -F.log_softmax(model(x), 1)[range(len(y)), y].mean()
""",
    "uphill": """
The gradient points to where the loss grows; a step has to go against it. Here it goes along, by
`maximize=True` or by an update written by hand with the wrong sign.

Wrong:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, maximize=True)
    parameter += lr * parameter.grad

Right:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parameter -= lr * parameter.grad
""",
}


@dataclass(frozen=True)
class Sample:
    """Some numbers of a parameter and of its gradient."""

    parameter: ref[Tensor]
    values: Tensor
    gradient: Tensor


class Direction(Check):
    """Looks at the sign of the loss and of the step: does training go downhill?"""

    def on_start(self) -> None:
        self.losses: list[tuple[float, float]] = []  # ranges, since the last step
        self.negated = self.climbed = 0  # steps in a row
        self.samples: list[Sample] = []
        self.leaves: list[ref[Tensor]] = []
        self.handmade = IN_A_ROW + 2  # steps without an optimizer that are looked at

    def before_backward(self, losses: Sequence[Tensor]) -> None:
        if not self.watch.inspecting:
            return
        self._compare_handmade()
        self.losses += [(one.low, one.high) for one in map(self.watch.origins.__getitem__, losses)]
        if not self.watch.optimizers and self.handmade and self.watch.graph:
            self.leaves = [ref(leaf) for leaf in self.watch.graph.leaves.values()]

    def after_backward(self, losses: Sequence[Tensor]) -> None:
        leaves = [leaf for one in self.leaves if (leaf := one()) is not None]
        if leaves:
            self.samples, self.leaves = sampled(leaves), []

    def before_step(self, optimizer: Optimizer) -> None:
        self.samples = []
        if self.watch.inspecting and len(self.watch.optimizers) == 1:
            self._judge_loss(optimizer)
            parameters = [one for group in optimizer.param_groups for one in group["params"]]
            if not maximizing(optimizer) and not isinstance(optimizer, torch.optim.LBFGS):
                self.samples = sampled(parameters)

    def after_step(self, optimizer: Optimizer) -> None:
        if self.samples:
            self._judge_step(self.samples, f"{type(optimizer).__name__}.step")
        self.samples, self.losses = [], []

    def _judge_loss(self, optimizer: Optimizer) -> None:
        """Look whether what is followed downwards has a bottom."""
        falls = maximizing(optimizer)
        endless = [
            (high == math.inf and low > -math.inf)
            if falls
            else (low == -math.inf and high < math.inf)
            for low, high in self.losses
        ]
        self.negated = self.negated + 1 if endless and all(endless) else 0
        if self.negated < IN_A_ROW:
            return
        low, high = self.losses[-1]
        if falls:
            self.find(
                "error",
                "uphill",
                f"{type(optimizer).__name__} with maximize=True climbs a loss without an upper end",
                evidence=f"the loss is at least {low:g} by what it is made of, and is maximized",
                way_out="leave out `maximize=True`",
            )
        else:
            self.find(
                "error",
                "loss-negated",
                "the loss has no lower end: minimizing it makes the predictions worse and worse",
                evidence=f"at most {high:g} by what it is made of, {self.negated} steps in a row",
                way_out="turn the sign of the loss; a negative log-likelihood needs its minus",
            )

    def _compare_handmade(self) -> None:
        """Look where parameters have gone since the last backward, without an optimizer."""
        if self.samples and not self.watch.optimizers:
            self.handmade -= 1
            self._judge_step(self.samples, "the update by hand")
            self.samples, self.losses = [], []

    def _judge_step(self, samples: list[Sample], who: str) -> None:
        """Look whether parameters went along their gradients rather than against them."""
        cosine = along(samples)
        loss_known = bool(self.losses) and all(
            low > -math.inf and high == math.inf for low, high in self.losses
        )
        self.climbed = self.climbed + 1 if cosine > CLEARLY and loss_known else 0
        if self.climbed >= IN_A_ROW:
            self.find(
                "error",
                "uphill",
                f"{who} moves the parameters along the gradient: the loss grows",
                evidence=f"cosine between gradient and step {cosine:+.2f}, {self.climbed} steps "
                "in a row; descent has -1",
                way_out="subtract the gradient: `parameter -= lr * parameter.grad`",
            )


def maximizing(optimizer: Optimizer) -> bool:
    """Say whether an optimizer was told to climb."""
    return any(group.get("maximize") for group in optimizer.param_groups)


def sampled(parameters: Sequence[Tensor]) -> list[Sample]:
    """Return some numbers of each parameter that has a gradient."""
    return [
        Sample(ref(one), some(one).clone(), some(one.grad).clone())
        for one in parameters
        if one.grad is not None and not one.grad.is_sparse
    ]


def some(tensor: Tensor) -> Tensor:
    """Return the first numbers of a tensor, as float64."""
    return tensor.detach().reshape(-1)[:SAMPLE].double()


def along(samples: Sequence[Sample]) -> float:
    """Return the cosine between the gradients and where the parameters have gone."""
    moved, slopes = [], []
    for sample in samples:
        parameter = sample.parameter()
        if parameter is not None:
            moved.append(some(parameter) - sample.values)
            slopes.append(sample.gradient)
    if not moved:
        return 0.0
    step, slope = torch.cat(moved), torch.cat(slopes)
    return float(step @ slope / (step.norm() * slope.norm()).clamp(min=1e-300))
