"""What a gradient says: how the loss really changes, of everything that is to be trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from nnhooks.findings import Finding
from nnhooks.probing.trial import Cannot, Copy, Trial
from nnhooks.watching.graph import Graph

MOST_TRIED = 8  # parameters without a gradient


def gradient_stopped(trial: Trial) -> Iterator[Finding]:
    """What the loss depends on, and is to be trained, has a gradient."""
    trial.needs(1)
    copy = trial.copy()
    loss = copy.value(copy.answer(trial.inputs), trial.target)
    names = copy.trained
    if not loss.requires_grad:
        gradients: list[Tensor | None] = [None] * len(names)
    else:
        gradients = copy.gradients(loss, list(names.values()))
    pairs = zip(names.items(), gradients, strict=True)
    without = [(name, one) for (name, one), gradient in pairs if zero(gradient)]
    cut = [name for name, one in without[:MOST_TRIED] if matters(trial, copy, one, float(loss))]
    if not cut:
        return
    rest = f" and {len(cut) - 1} more" if len(cut) > 1 else ""
    yield trial.finding(
        "warning" if trial.optimizer is not None else "note",
        "gradient-stopped",
        f"the loss depends on `{cut[0]}`{rest}, but no gradient reaches it: it never learns",
        of=trial.model,
        about=cut[0],
        evidence="moving it changes the loss; its gradient is missing or zero",
        way_out="look for `detach`, `.data`, `.item()`, `.numpy()`, `torch.tensor(...)` or"
        " `no_grad` on the way; if it is not to learn, leave it out of the optimizer",
    )


def zero(gradient: Tensor | None) -> bool:
    """Say whether there is no gradient at all."""
    return gradient is None or not bool(gradient.any())


def matters(trial: Trial, copy: Copy, parameter: nn.Parameter, loss: float) -> bool:
    """Say whether the loss has a slope along a random direction of this parameter."""
    if not parameter.is_floating_point() or not parameter.numel():
        return False
    generator = torch.Generator().manual_seed(3)
    direction = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    small, large = (
        slope(trial, copy, {parameter: direction.to(parameter.device)}, step)
        for step in ((1e-4, 1e-3) if trial.double else (1e-2, 3e-2))
    )
    threshold = (1e-7 if trial.double else 1e-3) * max(1.0, abs(loss))
    return abs(small) > threshold and abs(small - large) < 0.3 * abs(small)


def slope(trial: Trial, copy: Copy, direction: Mapping[nn.Parameter, Tensor], step: float) -> float:
    """Return how fast the loss rises along a direction, by going both ways."""
    kept = {parameter: parameter.detach().clone() for parameter in direction}
    values = []
    with torch.no_grad():
        for sign in (1, -1):
            for parameter, towards in direction.items():
                parameter.copy_(kept[parameter] + sign * step * towards)
            values.append(float(copy.value(copy.answer(trial.inputs), trial.target)))
        for parameter, value in kept.items():
            parameter.copy_(value)
    return (values[0] - values[1]) / (2 * step)


def gradient_wrong(trial: Trial) -> Iterator[Finding]:
    """Along the gradient the loss rises as fast as the gradient is long."""
    trial.needs(1)
    if not trial.double:
        return  # single precision cannot tell
    copy = trial.copy()
    loss = copy.value(copy.answer(trial.inputs), trial.target)
    parameters = [one for one in copy.trained.values() if one.is_floating_point()]
    custom = any(isinstance(node, BackwardCFunction) for node in Graph([loss]).nodes)
    if not parameters or not loss.requires_grad:
        return
    gradients = copy.gradients(loss, parameters)
    length = torch.stack([one.norm() for one in gradients if one is not None and one.numel()])
    norm = float(length.norm()) if len(length) else 0.0
    if not 1e-10 < norm < 1e10:
        return
    pairs = zip(parameters, gradients, strict=True)
    along = {one: gradient / norm for one, gradient in pairs if gradient is not None}
    large, small = slope(trial, copy, along, 1e-4), slope(trial, copy, along, 1e-5)
    smooth = abs(large - small) < 0.01 * abs(small)
    if abs(small) < 1e-3 * norm or not smooth or abs(small - norm) < 0.05 * norm:
        return  # flat or jagged: a straight-through estimator, or a kink
    yield trial.finding(
        "warning" if custom else "note",
        "gradient-wrong",
        "the gradient is not how the loss changes"
        + ("; a backward of your own is on the way" if custom else "; part of it is detached"),
        of=trial.model,
        evidence=f"one step of 1e-5 along it raises the loss by {small:.4g} a unit,"
        f" and the gradient is {norm:.4g} long",
        way_out="hold your backward against torch.autograd.gradcheck in float64" if custom else "",
    )


def uphill(trial: Trial) -> Iterator[Finding]:
    """The first step of an optimizer goes down."""
    optimizer = trial.optimizer
    if optimizer is None or optimizer.state or isinstance(optimizer, torch.optim.LBFGS):
        return
    copy = trial.copy(double=False)
    inputs, target = (value for value in single_precision(trial))
    parameters = list(copy.trained.values())
    gradients = copy.gradients(copy.value(copy.answer(inputs), target), parameters)
    assert copy.optimizer is not None
    for group in copy.optimizer.param_groups:
        if "weight_decay" in group:
            group["weight_decay"] = 0.0
    before = [one.detach().clone() for one in parameters]
    for one, gradient in zip(parameters, gradients, strict=True):
        one.grad = None if gradient is None else gradient.to(one.dtype)
    try:
        copy.optimizer.step()
    except Exception:
        return  # sparse gradients only, a closure, ...
    moves = zip(parameters, before, gradients, strict=True)
    rise = sum(float(((one - old) * g).sum()) for one, old, g in moves if g is not None)
    if rise > 0:
        yield trial.finding(
            "warning",
            "uphill",
            "the optimizer goes up the loss, not down",
            about=type(optimizer).__name__,
            evidence=f"to first order one step changes the loss by {rise:+.3g}",
            way_out="take `maximize=True` or the sign of the learning rate away",
        )


def single_precision(trial: Trial) -> tuple[Any, Any]:
    """Return the batch as the program gives it."""
    from nnhooks.probing.rows import changed

    def cast(one: Tensor) -> Tensor:
        return one.float() if one.dtype == torch.double else one

    if not trial.double:
        return trial.inputs, trial.target
    return changed(cast, trial.inputs), changed(cast, trial.target)


def accumulation_differs(
    trial: Trial, accumulate: Callable[[nn.Module, Any, Any], Any]
) -> Iterator[Finding]:
    """Gradients of small batches add up to the gradient of the large one."""
    whole, parts = trial.copy(double=False), trial.copy(double=False)
    inputs, target = trial.whole
    names, held = list(whole.trained), list(whole.trained.values())
    expected = whole.gradients(whole.value(whole.answer(inputs), target), held)
    accumulate(parts.model, inputs, target)
    got = [parts.trained[name].grad for name in names]
    if all(one is None for one in got):
        raise Cannot("the accumulation left no gradient in the model that it was given")
    for name, one, two in zip(names, expected, got, strict=True):
        one = torch.zeros(()) if one is None else one
        two = torch.zeros_like(one) if two is None else two
        size = float(one.norm())
        if float((one - two).norm()) > 1e-3 * max(size, 1e-7):
            times = float((one * two).sum()) / max(size * size, 1e-30)
            even = float((two - times * one).norm()) < 1e-3 * abs(times) * size
            yield trial.finding(
                "error",
                "accumulation-differs",
                "gradients of small batches do not add up to that of the large batch",
                of=accumulate,
                about=name,
                evidence=f"`{name}`: {times:.4g} times as long"
                if even
                else f"`{name}`: differs by {float((one - two).norm()) / max(size, 1e-30):.2g}"
                " of its length, in direction too",
                way_out="divide each loss by the number of small batches"
                if even
                else "weight each small batch by its share of the rows, or of the tokens",
            )
            return
