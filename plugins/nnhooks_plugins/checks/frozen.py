"""Frozen: optimizers with nothing to train, and frozen parameters that still move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import ref

from torch import Tensor
from torch.optim import Optimizer

from nnhooks import Check

from ._weights import listed, same, sample, tensors

AT_ONCE = 8  # parameters that are looked at in one step, each in its turn
LEAST = 8  # steps of an optimizer among others that have never trained anything

EXPLAINED = {
    "nothing-trainable": """\
Every parameter of the optimizer has `requires_grad=False`: it steps, and nothing happens. Either
too much was frozen, or the optimizer was given the wrong part of the model.

Wrong:
    for parameter in model.parameters():
        parameter.requires_grad = False             # the head too
    optimizer = torch.optim.Adam(model.head.parameters())

Right:
    for parameter in model.body.parameters():
        parameter.requires_grad = False
    optimizer = torch.optim.Adam(model.head.parameters())
""",
    "frozen-moves": """\
A parameter was frozen after it had been trained, and its last gradient was left behind: optimizers
skip parameters without a gradient, not those that are frozen. So the old gradient, momentum and
weight decay go on moving it.

Wrong:
    for parameter in model.body.parameters():
        parameter.requires_grad = False             # .grad stays

Right:
    for parameter in model.body.parameters():
        parameter.requires_grad = False
        parameter.grad = None
""",
}


@dataclass
class Stale:
    """A frozen parameter with a gradient, seen before a step."""

    tensor: Tensor
    sample: Tensor
    gradient: Any
    version: int
    moved: bool = False


class Frozen(Check):
    """Finds steps that train nothing, and steps that move what is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.trainable: set[int] = set()
        self.turn: dict[Optimizer, int] = {}
        self.own: dict[Optimizer, tuple[int, list[Tensor]]] = {}  # with the number of groups
        self.stale: dict[int, Stale] = {}
        self.idle: dict[Optimizer, int] = {}  # steps with everything frozen
        self.trained: set[Optimizer] = set()

    def on_optimizer(self, optimizer: Optimizer) -> None:
        self._note_trainable(optimizer)

    def before_step(self, optimizer: Optimizer) -> None:
        if optimizer not in self.trained:
            self._look_for_anything_to_train(optimizer)
        if self.watch.inspecting:
            self._note_trainable(optimizer)
        for one in self._next(optimizer):
            if one.requires_grad or one.grad is None or id(one) not in self.trainable:
                self.stale.pop(id(one), None)
            else:
                self._look_at_leftover(one)

    def after_step(self, optimizer: Optimizer) -> None:
        for known in self.stale.values():
            known.moved = not same(known.sample, sample(known.tensor))

    def on_end(self) -> None:
        for optimizer, steps in self.idle.items():
            if steps >= LEAST and optimizer not in self.trained:
                self._tell_idle(optimizer, "warning")

    def _note_trainable(self, optimizer: Optimizer) -> None:
        self.trainable.update(id(one) for one in tensors(optimizer) if one.requires_grad)

    def _next(self, optimizer: Optimizer) -> list[Tensor]:
        """Return the tensors that are looked at in this step: all, or some in their turn."""
        groups, own = self.own.get(optimizer, (0, []))
        if groups != len(optimizer.param_groups):
            own = list(tensors(optimizer))
            self.own[optimizer] = (len(optimizer.param_groups), own)
        if self.watch.inspecting or len(own) <= AT_ONCE:
            return own
        turn = self.turn.get(optimizer, 0) % len(own)
        self.turn[optimizer] = turn + AT_ONCE
        waiting = [known.tensor for known in self.stale.values()]
        return [*own[turn : turn + AT_ONCE], *waiting[:AT_ONCE]]

    def _look_for_anything_to_train(self, optimizer: Optimizer) -> None:
        if any(one.requires_grad or one.grad is not None for one in tensors(optimizer)):
            self.trained.add(optimizer)
            self.idle.pop(optimizer, None)
            return
        self.idle[optimizer] = self.idle.get(optimizer, 0) + 1
        others = [one for one in self.watch.optimizers if one is not optimizer]
        if not any(one.requires_grad for other in others for one in tensors(other)):
            self._tell_idle(optimizer, "error")

    def _tell_idle(self, optimizer: Optimizer, level: Any) -> None:
        names = [self.watch.name(one) for one in tensors(optimizer)]
        self.find(
            level,
            "nothing-trainable",
            f"the optimizer holds only frozen parameters: {listed(names)}",
            about=names[0] if names else "",
            evidence=f"requires_grad is False for all {len(names)}",
            way_out="unfreeze what is to be trained, before the optimizer is built",
        )

    def _look_at_leftover(self, one: Tensor) -> None:
        """See whether a frozen parameter moves by a gradient that no backward has renewed."""
        gradient = one.grad
        known = self.stale.get(id(one))
        if gradient is None:
            return
        left = known is not None and gradient is known.gradient() and known.moved
        if left and known and (gradient._version == known.version or not gradient.any()):
            self._tell_moves(one)
        self.stale[id(one)] = Stale(one, sample(one), ref(gradient), gradient._version)

    def _tell_moves(self, one: Tensor) -> None:
        name = self.watch.name(one)
        self.find(
            "error",
            "frozen-moves",
            f"{name} is frozen, but its optimizer still moves it by what is left in `.grad`",
            about=name,
            evidence=f"requires_grad is False, |grad| up to {gradient_size(one):.2g}, moved in the "
            "last step",
            way_out="set .grad = None where requires_grad is set to False",
        )


def gradient_size(one: Tensor) -> float:
    """Return the largest element of a gradient, without its sign."""
    return 0.0 if one.grad is None else float(one.grad.abs().max())
