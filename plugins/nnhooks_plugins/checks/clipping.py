"""Do gradients stay clipped until they are used, and is anything left of them? In plain PyTorch:

nn.utils.clip_grad_norm_                     # wrapped: whose gradients, how long, what limit?
register_optimizer_step_pre_hook(...)        # are they still within the limit?
register_optimizer_step_post_hook(...)       # from here on they have been used
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from weakref import ref

import torch
from torch import Tensor
from torch.optim import Optimizer

from nnhooks import Check
from nnhooks_plugins._gradient import dense
from nnhooks_plugins.checks._followed import held_by

AGAIN = 2  # times that a mistake is seen before it is said: the first may be an exception
SATURATED = 5  # inspected clips in a row that leave next to nothing
NOTHING = 1e-4  # the share of a gradient that is left, and is next to nothing for any optimizer
LITTLE = 1e-2  # the share left that is too little if the weights hardly move with it
HARDLY = 1e-5  # of a weight's size, in a step


class Clipping(Check):
    """Judges what clipping has done to the gradients that are used after it."""

    def __init__(self) -> None:
        super().__init__()
        self.used: dict[int, tuple[ref[Tensor], int]] = {}  # gradients, by their parameter
        self.late = self.early = self.foreign = self.grown = self.saturated = 0
        self.clipped: list[ref[Tensor]] = []  # parameters, since the last step
        self.limit = self.norm = 0.0  # what was asked for, and what it was after clipping
        self.stepped: list[Optimizer] = []

    def after_clip(self, parameters: Sequence[Tensor], limit: float, norm: Tensor | None) -> None:
        if math.isinf(limit):  # it was only measured
            return
        with_gradient = [p for p in parameters if p.grad is not None]
        by = 1 if norm is not None else 2  # clamped from below, and from above
        if with_gradient and self.has_used(with_gradient, by):
            self.late += 1
            if self.late == AGAIN:
                self.say_late(limit)
            return
        self.early = 0 if with_gradient else self.early + 1
        if self.early == AGAIN:
            self.say_early(limit, len(parameters))
        if self.watch.inspecting and with_gradient:
            self.clipped = [ref(parameter) for parameter in with_gradient]
            self.limit, self.norm = limit, norm_of(with_gradient)
            if norm is not None:
                self.judge_share(with_gradient, limit, float(norm))

    def before_step(self, optimizer: Optimizer) -> None:
        if not self.clipped or not self.watch.inspecting:
            return
        parameters = [p for p in (one() for one in self.clipped) if p is not None]
        own = {id(parameter) for parameter in held_by(optimizer)}
        if not any(id(parameter) in own for parameter in parameters):
            return
        self.clipped = []
        now = norm_of([p for p in parameters if p.grad is not None])
        if self.norm <= 1.001 * self.limit and now > 1.01 * self.limit:
            self.grown += 1
            if self.grown == AGAIN:
                self.say_grown(now)

    def after_step(self, optimizer: Optimizer) -> None:
        for parameter in held_by(optimizer):
            if parameter.grad is not None:
                self.used[id(parameter)] = (ref(parameter.grad), parameter.grad._version)
                break
        if optimizer not in self.stepped:
            self.stepped.append(optimizer)
        self.judge_foreign()

    def has_used(self, parameters: Sequence[Tensor], by: int) -> bool:
        """Say whether these gradients have been used, and nothing but clipped since."""
        for parameter in parameters:
            if id(parameter) in self.used:
                gradient, version = self.used[id(parameter)]
                now = parameter.grad
                return now is not None and gradient() is now and 0 < now._version - version <= by
        return False

    def judge_foreign(self) -> None:
        """Judge whether it is the gradients of these very optimizers that were clipped."""
        if not self.clipped or len(self.stepped) < len(self.watch.optimizers):
            return
        own = {id(p) for optimizer in self.stepped for p in held_by(optimizer)}
        parameters = [p for p in (one() for one in self.clipped) if p is not None]
        self.clipped = []
        if parameters and not any(id(parameter) in own for parameter in parameters):
            self.foreign += 1
            if self.foreign == AGAIN:
                self.say_foreign(len(parameters))

    def judge_share(self, parameters: Sequence[Tensor], limit: float, norm: float) -> None:
        """Judge what clipping leaves of gradients."""
        if not math.isfinite(norm) or norm <= 0 or not limit / norm < LITTLE:
            self.saturated = 0
            return
        self.saturated += 1
        if self.saturated < SATURATED:
            return
        if limit / norm < NOTHING or self.hardly_moves(parameters, limit):
            self.find(
                "warning",
                "clip-saturated",
                "clipping leaves next to nothing of every gradient",
                evidence=f"max_norm {limit:g}, gradient norm {norm:.3g}: {norm / limit:.0f} times",
                way_out="choose max_norm near the usual norm of the gradient (clip_grad_norm_ "
                "returns it)",
            )

    def hardly_moves(self, parameters: Sequence[Tensor], limit: float) -> bool:
        """Say whether an optimizer that does not rescale gradients cannot move these weights."""
        first = parameters[0]
        for optimizer in self.watch.optimizers:
            if any(first is parameter for parameter in held_by(optimizer)):
                rescales = "exp_avg_sq" in optimizer.state.get(first, {})
                lr = max(float(group["lr"]) for group in optimizer.param_groups)
                size = float(torch.stack([p.detach().norm() for p in parameters]).norm())
                momentum = max(group.get("momentum", 0) or 0 for group in optimizer.param_groups)
                return not rescales and lr * limit / (1 - min(momentum, 0.99)) < HARDLY * size
        return False

    def say_late(self, limit: float) -> None:
        """Report clipping that came after the step."""
        self.find(
            "error",
            "clip-after-step",
            "gradients were clipped after the optimizer had used them: clipping has no effect",
            evidence=f"max_norm {limit:g}; the gradients are those of the step before, unchanged",
            way_out="clip between backward() and step()",
        )

    def say_early(self, limit: float, count: int) -> None:
        """Report clipping of nothing."""
        self.find(
            "error",
            "clip-before-backward",
            "clipping found no gradient to clip",
            evidence=f"max_norm {limit:g}; {count} parameters, none of them has a gradient",
            way_out="clip between backward() and step(), the parameters that the optimizer holds",
        )

    def say_grown(self, now: float) -> None:
        """Report gradients that did not stay clipped."""
        self.find(
            "warning",
            "clip-before-backward",
            "gradients were clipped, but grew again before the optimizer used them",
            evidence=f"clipped to {self.norm:.3g} (limit {self.limit:g}), used with {now:.3g}",
            way_out="clip once, after the last backward() of a step",
        )

    def say_foreign(self, count: int) -> None:
        """Report clipping of parameters that nothing moves."""
        self.find(
            "error",
            "clip-foreign",
            "the gradients that were clipped belong to no optimizer",
            evidence=f"{count} parameters were clipped, none of them is in an optimizer that steps",
            way_out="clip the parameters that the optimizer holds",
        )


def norm_of(parameters: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of all gradients together."""
    norms = [dense(p.grad.detach()).norm() for p in parameters if p.grad is not None]
    return float(torch.stack([norm.to(norms[0].device) for norm in norms]).norm()) if norms else 0.0


EXPLAINED = {
    "clip-after-step": """\
Clipping bounds the gradients that the optimizer uses next. After step() they have been used; the
next zero_grad() throws the clipped ones away.

    wrong: loss.backward(); optimizer.step(); clip_grad_norm_(model.parameters(), 1.0)
    right: loss.backward(); clip_grad_norm_(model.parameters(), 1.0); optimizer.step()
""",
    "clip-before-backward": """\
Gradients exist from backward() on. Clipping before it, or between the backward passes of an
accumulated step, does not bound what the optimizer uses.

    wrong: optimizer.zero_grad(); clip_grad_norm_(model.parameters(), 1.0)
           loss.backward(); optimizer.step()
    right: optimizer.zero_grad(); loss.backward()
           clip_grad_norm_(model.parameters(), 1.0); optimizer.step()
""",
    "clip-foreign": """\
What is clipped should be what is optimized: here the two have no parameter in common.

    wrong: clip_grad_norm_(old_model.parameters(), 1.0); optimizer.step()
    right: clip_grad_norm_(model.parameters(), 1.0); optimizer.step()
""",
    "clip-saturated": """\
Clipping is for rare, large gradients. If it cuts every gradient to a tiny part, plain SGD hardly
moves, and every optimizer loses what the size of gradients tells.

    wrong: clip_grad_norm_(model.parameters(), 1e-6)
    right: norm = clip_grad_norm_(model.parameters(), 1.0)  # and look at `norm` now and then
""",
}
