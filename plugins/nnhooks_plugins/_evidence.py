"""What PyTorch's own hooks tell of a step: what ran, in which order, and what gradients hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, TypeVar, TypeVarTuple, Unpack

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from nnhooks import Trainer
from nnhooks_plugins._gradient import Gradient

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

WATCHED = 8  # parameters, spread over the model: a backward pass is one for all of them


def guarded(
    method: Callable[[Any, Unpack[Ts]], None],
) -> Callable[[Any, Unpack[Ts]], None]:
    """Keep a mistake of the check out of training: from then on it is blind, and will say so."""

    @wraps(method)
    def call(self: Evidence, *arguments: *Ts) -> None:
        if self.blind:
            return
        try:
            method(self, *arguments)
        except Exception as error:
            self.blind = f"step {self.trainer.step}: {type(error).__name__}: {error}"

    return call


class Evidence:
    """Follows the steps of a trainer through PyTorch, and changes nothing in them.

    `ran` is what happened in the step so far. `judge` is asked when an optimizer uses gradients,
    `meet` when an optimizer is seen for the first time.
    """

    trainer: Trainer

    def __init__(self) -> None:
        self.gradients: list[Gradient] = []
        self.handles: list[Any] = []
        self.known: dict[Optimizer, list[Gradient]] = {}
        self.inside, self.blind, self.rounds = False, "", 0

    def begin(self) -> None:
        """Begin a step."""
        self.ran: list[str] = []
        self.repeated: dict[int, list[bool]] = {}  # did a pass bring what another had brought?
        self.depth = self.forwards = 0
        self.moved = self.again = False
        if not any(gradient.parameter.requires_grad for gradient in self.gradients):
            self.watch()
        self.inside = bool(self.handles)

    @guarded
    def watch(self) -> None:
        """Follow some of the parameters that are trained; if one has no shape yet, wait."""
        self.unwatch()
        trainer, model = self.trainer, self.trainer.model
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if any(nn.parameter.is_lazy(parameter) for _, parameter in named):
            return
        held = parameters(trainer.optimizer)
        named = [(name, p) for name, p in named if id(p) in held] or named
        self.gradients = [Gradient(name, parameter) for name, parameter in spread(named)]
        self.handles = [
            register_optimizer_step_pre_hook(self.before_step),
            register_optimizer_step_post_hook(self.after_step),
        ]
        if not is_compiled(model):
            self.handles.append(model.register_forward_pre_hook(lambda *_: self.saw_forward()))
        for gradient in self.gradients:
            before, after = partial(self.before_pass, gradient), partial(self.after_pass, gradient)
            self.handles += [
                gradient.parameter.register_hook(before),
                gradient.parameter.register_post_accumulate_grad_hook(after),
            ]

    def unwatch(self) -> None:
        """Leave no hook behind."""
        for handle in self.handles:
            handle.remove()
        self.handles, self.gradients = [], []
        self.known.clear()

    def look(self) -> None:
        """Look at the gradients for what no hook tells: zero_grad."""
        step, cleared = self.trainer.step, False
        for gradient in self.gradients:
            cleared |= gradient.look(step)
        if cleared:
            self.ran.append("zero_grad")

    @guarded
    def saw_forward(self) -> None:
        """The model is called."""
        if torch.is_grad_enabled():
            self.look()
            self.ran.append("forward")
            self.forwards += 1

    @guarded
    def before_pass(self, gradient: Gradient, incoming: Tensor) -> None:
        """A backward pass is about to add to a gradient."""
        if self.ran[-1:] != ["backward"] or gradient.round == self.rounds:
            self.look()
            self.again = "backward" in self.ran and not self.forwards
            self.ran.append("backward")
            self.rounds += 1
            self.forwards = max(0, self.forwards - 1)
        gradient.round = self.rounds
        if self.again and (same := gradient.is_doubled_by(incoming)) is not None:
            self.repeated.setdefault(self.rounds, []).append(same)

    @guarded
    def after_pass(self, gradient: Gradient, parameter: Tensor) -> None:
        """A backward pass has added to a gradient."""
        gradient.add(self.trainer.step)

    @guarded
    def before_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        """An optimizer is about to step; one inside another's step is a part of that."""
        self.depth += 1
        if self.depth > 1 or not self.inside or not self.is_ours(optimizer):
            return
        self.look()
        self.ran.append("step")
        if not has_closure(*arguments, **keywords):
            self.judge(optimizer)

    @guarded
    def after_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        """An optimizer has stepped; with a closure, what it used is known only now."""
        self.depth -= 1
        if self.depth > 0 or not self.inside or not self.is_ours(optimizer):
            return
        if has_closure(*arguments, **keywords):
            self.look()
            self.judge(optimizer)
        for gradient in self.known[optimizer]:
            gradient.use()
        self.moved = True

    def is_ours(self, optimizer: Optimizer) -> bool:
        """Say whether an optimizer is the trainer's, or moves a parameter that is followed."""
        if optimizer not in self.known:
            held = parameters(optimizer)
            followed = [gradient for gradient in self.gradients if id(gradient.parameter) in held]
            self.known[optimizer] = followed
            self.meet(optimizer)
        return optimizer is self.trainer.optimizer or bool(self.known[optimizer])

    def meet(self, optimizer: Optimizer) -> None:
        """Judge an optimizer that steps for the first time."""
        raise NotImplementedError

    def judge(self, optimizer: Optimizer) -> None:
        """Judge the gradients that an optimizer uses."""
        raise NotImplementedError


def spread(items: Sequence[T]) -> list[T]:
    """Choose a few items at even distances, the first and the last among them."""
    last, count = len(items) - 1, min(WATCHED, len(items))
    return [items[round(i * last / max(1, count - 1))] for i in range(count)]


def parameters(optimizer: Optimizer) -> dict[int, Tensor]:
    """Return the parameters an optimizer holds, by their identity."""
    return {id(p): p for group in optimizer.param_groups for p in group["params"]}


def has_closure(_: Optimizer, *arguments: Any, closure: Any = None, **__: Any) -> bool:
    """Say whether a step was given a closure, from the arguments it was called with."""
    return (arguments[0] if arguments else closure) is not None


def is_compiled(model: nn.Module) -> bool:
    """Say whether calling the model runs compiled code, which hooks would become a part of."""
    return getattr(model, "_compiled_call_impl", None) is not None
