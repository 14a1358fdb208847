"""What can be learned: one batch by heart, and more than any constant answer knows."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from nnhooks.findings import Finding
from nnhooks.probing.gradients import single_precision
from nnhooks.probing.rows import distance, tensors
from nnhooks.probing.trial import Cannot, Copy, Trial

RATES = (1e-2, 1e-3, 1e-1)  # of Adam; one of them suits
STEPS = 120
SAID_BETTER = {"batch-mixing", "gradient-stopped", "loss-not-additive", "loss-permutation"}


def cannot_overfit(trial: Trial) -> Iterator[Finding]:
    """A few rows can be learned by heart, or better at least than by one answer for all."""
    if trial.found & SAID_BETTER:
        return
    trial.needs(2)
    batch = single_precision(trial)
    if alike(trial, batch[0]) or alike(trial, batch[1]):
        return  # one answer for all is then the best there is
    constant = best_constant(trial, batch)
    best, first, steps = float("inf"), float("nan"), 0
    for rate in RATES:
        first, last, steps = learn(trial, batch, rate, constant)
        best = min(best, last)
        if learned(first, best, constant):
            return
        if steps < STEPS:
            raise Cannot(f"{steps} steps took all the time there was")
    if not isfinite(first):
        return  # which other checks say better
    yield trial.finding(
        "warning",
        "cannot-overfit",
        f"{STEPS} steps on the same {trial.rows.count} rows taught the model"
        + (" nothing" if constant is None else " less than one constant answer for all rows knows"),
        of=trial.model,
        evidence=f"loss {first:.4g} at first, {best:.4g} at best"
        + ("" if constant is None else f"; {constant:.4g} with a constant answer"),
        way_out="look for an output that cannot reach the targets, inputs that are not used, and"
        " gradients that do not arrive",
    )


def learned(first: float, best: float, constant: float | None) -> bool:
    """Say whether a loss has fallen as far as it has to."""
    if constant is None:
        return best < first - 0.01 * abs(first)
    return best < constant - 0.02 * abs(constant) or best < 1e-3


def alike(trial: Trial, value: Any) -> bool:
    """Say whether all rows of a value are the same."""
    found = [one for one in tensors(value) if trial.rows.has(one)]
    other = trial.rows.take(value, trial.rows.all().roll(1))
    return bool(found) and distance(value, other) == 0


def still(copy: Copy) -> None:
    """Turn dropout off, whatever else is in the mode of training."""
    for module in copy.model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.eval()


def learn(
    trial: Trial, batch: tuple[Any, Any], rate: float, goal: float | None
) -> tuple[float, float, int]:
    """Train a copy by Adam; return the first loss, the best one, and the number of steps."""
    copy = trial.copy(double=False, training=True)
    still(copy)
    parameters = list(copy.trained.values())
    if not parameters:
        raise Cannot("there is nothing to train")
    optimizer = torch.optim.Adam(parameters, lr=rate)
    values: list[float] = []
    for step in range(STEPS):
        if trial.left < 0:
            return values[0] if values else float("nan"), min(values, default=0.0), step
        loss = copy.value(copy.answer(batch[0], seed=step), batch[1])
        values.append(float(loss.detach()))
        if not isfinite(values[-1]) or (step > 10 and learned(values[0], min(values), goal)):
            break
        gradients = copy.gradients(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    return values[0], min(value if isfinite(value) else float("inf") for value in values), STEPS


def best_constant(trial: Trial, batch: tuple[Any, Any]) -> float | None:
    """Return the loss of the best answer that is the same for all rows; None if unknown."""
    copy = trial.copy(double=False)
    outputs = tensors(copy.answer(batch[0]))
    if trial.expect.get("batch_coupled") or len(outputs) != 1:
        return None
    output = outputs[0].detach()
    if not depends(trial, copy, output, batch[1]):
        return None  # what is wanted is inside the output already
    free = output.float().mean(0, keepdim=True).clone().requires_grad_()
    return fitted(copy, free, output, batch[1])


def depends(trial: Trial, copy: Copy, output: Tensor, target: Any) -> bool:
    """Say whether it makes a difference to the loss which row has which target."""
    shrunk = torch.linspace(0.5, 1, len(output)).to(output)  # leaves outputs within any bounds
    uneven = output * shrunk.reshape(-1, *[1] * (output.ndim - 1))
    other = trial.rows.take(target, trial.rows.all().roll(1))
    return float(copy.value(uneven, target)) != float(copy.value(uneven, other))


def fitted(copy: Copy, free: Tensor, output: Tensor, target: Any) -> float | None:
    """Return the lowest loss found by moving one row that stands for all."""
    values = []
    for rate in (1.0, 0.2, 0.05):
        optimizer = torch.optim.Adam([free], lr=rate)
        for _ in range(60):
            try:
                loss = copy.value(free.expand_as(output).to(output.dtype), target)
                [free.grad] = torch.autograd.grad(loss, [free])
            except Exception:
                return None  # the loss takes only what the model gives
            values.append(float(loss.detach()))
            optimizer.step()
    finite = [value for value in values if isfinite(value)]
    lowest = min(finite, default=-1.0)
    if lowest < 0 or len(finite) < len(values):
        return None  # the loss has no bottom, unless outputs keep to bounds that we do not know
    return lowest
