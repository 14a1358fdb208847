"""Updates: how far a step moves the weights, and whether they stay where it puts them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import LBFGS, Optimizer

from nnhooks import Check

from ._weights import listed, mark, same, sample, tensors

EARLY = 10  # steps in which weights are settled neither way
TIMES = 3  # inspected steps in a row
HIGH = 1.0  # of the size of the weights in one step
GROWTH = 5.0  # of the weights in the first steps
RAISED = 0.3  # of their size in one step, while the loss rises
LOW = 1e-6  # of their size in one step
LOST = 0.9  # of the elements with a gradient
RETURNS = 2  # to the very first weights

EXPLAINED = {
    "weights-reset": """\
What the optimizer does is undone before its next step: the weights are back at what they were. An
old state is loaded in the loop, or a copy is written over the parameters after each step.

Wrong:
    for x, y in batches:
        model.load_state_dict(start)            # in every step
        train_step(model, x, y)

Right:
    model.load_state_dict(start)
    for x, y in batches:
        train_step(model, x, y)

To start over on purpose, build a new optimizer, or load its state as well.
""",
    "update-ratio-high": """\
One step moves the weights about as far as they are large, or they have grown several times over
in the first steps: the learning rate is far too high for this optimizer and this model.

Wrong:
    optimizer = torch.optim.Adam(model.parameters(), lr=3.0)

Right:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

As a rule of thumb a step changes weights by about a thousandth of their size.
""",
    "update-ratio-low": """\
A step moves the weights by less than a millionth of their size: at this rate nothing is learned.
The learning rate is far too low, or the gradients have been scaled or clipped away.

Wrong:
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1e-6)

Right:
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
""",
    "update-lost": """\
Nearly all weights with a gradient are the same after the step as before: the update is smaller
than the distance to the next number of their type. bfloat16 has 8 bits: to 1.0 nothing below
0.004 can be added.

Wrong:
    model = model.bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)

Right:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)    # weights in float32
    with torch.autocast("cuda", torch.bfloat16):
        loss = criterion(model(x), y)
""",
}


@dataclass
class Look:
    """The weights of one optimizer before a step, as samples one behind the other."""

    tensors: list[Tensor]
    values: list[Tensor]
    gradients: list[Tensor | None]


@dataclass
class Course:
    """What the steps of one optimizer have done so far."""

    anchor: Tensor  # the tensor that is looked at in every step
    first: Tensor  # a sample of it before the first step
    state: Any  # what the optimizer kept then; other where a state has been loaded
    mark: tuple[int, int] | None = None  # of the anchor after the last step
    before: Tensor | None = None  # the last step, if that was looked at
    moves: bool = False
    away: bool = False  # from the first weights, perhaps
    returns: int = 0
    undone: int = 0
    parts: Counter[int] = field(default_factory=Counter)  # steps undone, per tensor
    last: Look | None = None
    moved_to: list[Tensor] = field(default_factory=list)
    start: list[Tensor] | None = None
    rates: list[float] = field(default_factory=list)
    high: int = 0
    raised: int = 0
    low: int = 0
    lost: int = 0
    has_moved: bool = False


class Updates(Check):
    """Measures samples of the weights before and after the steps that are inspected."""

    def __init__(self) -> None:
        super().__init__()
        self.courses: dict[Optimizer, Course] = {}
        self.look: Look | None = None
        self.loss: Tensor | None = None
        self.losses: list[float] = []

    def before_backward(self, losses: Any) -> None:
        if self.watch.inspecting and losses and losses[0].numel() == 1:
            self.loss = losses[0].detach().clone()

    def before_step(self, optimizer: Optimizer) -> None:
        course = self._course(optimizer)
        if course is None:
            return
        self._look_for_return(course)
        self.look = None
        if self.watch.inspecting:
            own = [one for one in tensors(optimizer) if one.requires_grad and one.numel()]
            gradients = [sampled_gradient(one) for one in own]
            self.look = Look(own, [sample(one) for one in own], gradients)
            self._look_for_undone(course)

    def after_step(self, optimizer: Optimizer) -> None:
        course = self.courses.get(optimizer)
        if course is None:
            return
        course.mark, course.away = mark(course.anchor), True
        if self.look is None:
            course.last = None
            return
        if course.before is not None:
            course.moves = not same(course.before, sample(course.anchor, 16))
        course.last, course.moved_to = self.look, [sample(one) for one in self.look.tensors]
        if not isinstance(optimizer, LBFGS):
            self._measure(optimizer, course, self.look)

    def _course(self, optimizer: Optimizer) -> Course | None:
        course = self.courses.get(optimizer)
        if course is None or course.state is not optimizer.state:
            matrices = [
                one
                for one in tensors(optimizer)
                if one.requires_grad and one.dim() > 1 and one.is_contiguous()
            ]
            if not matrices:
                return None
            anchor = matrices[-1]
            course = Course(anchor, sample(anchor, 16), optimizer.state)
            self.courses[optimizer] = course
        return course

    # Weights that do not stay

    def _look_for_return(self, course: Course) -> None:
        """See whether the weights are back at what they were before the first or last step."""
        written = course.mark is not None and course.mark != mark(course.anchor)
        if not (written or self.watch.inspecting):
            course.before = None
            return
        now = sample(course.anchor, 16)
        if course.moves and varied(now):
            undone = course.before is not None and same(now, course.before)
            course.undone = course.undone + 1 if undone else 0
            if course.away and same(now, course.first):
                course.returns += 1
        course.before, course.away = now, False
        if course.undone >= TIMES or course.returns >= RETURNS:
            times = max(course.undone, course.returns)
            self._tell_reset("error", [self.watch.name(course.anchor)], times)

    def _look_for_undone(self, course: Course) -> None:
        """See which of the weights are where the last step found them."""
        if (
            course.last is None
            or self.look is None
            or len(course.moved_to) != len(self.look.tensors)
        ):
            return
        old = zip(course.last.values, course.moved_to, self.look.values, strict=True)
        for one, (before, after, now) in zip(self.look.tensors, old, strict=True):
            undone = one.dim() > 1 and not same(before, after) and same(before, now)
            undone = undone and varied(now)
            course.parts[id(one)] = course.parts[id(one)] + 1 if undone else 0
        back = [one for one in self.look.tensors if course.parts[id(one)] >= TIMES]
        if back:
            self._tell_reset("warning", [self.watch.name(one) for one in back], TIMES)

    def _tell_reset(self, level: Any, names: list[str], times: int) -> None:
        self.find(
            level,
            "weights-reset",
            f"{listed(names)}: the weights are put back to what they were before the step",
            about=names[0],
            evidence=f"{times} times the very same values again after they had moved",
            way_out="look for load_state_dict, .data or copy_ inside the loop",
        )

    # How far a step goes

    def _measure(self, optimizer: Optimizer, course: Course, look: Look) -> None:
        if course.start is None:
            course.start = look.values
        rates = {id(one): float(g["lr"]) for g in optimizer.param_groups for one in g["params"]}
        moves = [
            Move(one, before, after, gradient)
            for one, before, after, gradient in zip(
                look.tensors, look.values, course.moved_to, look.gradients, strict=True
            )
            if gradient is not None and rates.get(id(one), 0.0) > 0
        ]
        if not moves or not all(bool(move.finite) for move in moves):
            return
        rising = bool(course.rates) and max(rates.values()) > course.rates[-1] * 1.001
        course.rates.append(max(rates.values()))
        self._look_for_lost(course, moves, rising)
        matrices = [move for move in moves if move.tensor.dim() > 1]
        if matrices:
            self._look_for_low(course, matrices, rising)
            if self.watch.steps.get(optimizer, 0) < EARLY:
                self._look_for_high(course, matrices)

    def _look_for_lost(self, course: Course, moves: list[Move], rising: bool) -> None:
        total = sum(move.with_gradient for move in moves)
        unchanged = sum(move.unchanged for move in moves)
        if not total:
            return
        if unchanged < LOST * total:
            course.has_moved = True
        elif not course.has_moved and not rising:
            course.lost += 1
        if course.lost >= TIMES and not course.has_moved:
            self.found.add("update-ratio-low")  # the same cause
            kind = str(moves[0].tensor.dtype).removeprefix("torch.")
            self.find(
                "warning",
                "update-lost",
                f"the step leaves nearly all weights as they are: it is too small for {kind}",
                evidence=f"{unchanged} of {total} elements with a gradient unchanged, learning "
                f"rate {course.rates[-1]:.2g}",
                way_out="raise the learning rate, or keep the weights in float32",
            )

    def _look_for_low(self, course: Course, matrices: list[Move], rising: bool) -> None:
        ratio = middle([move.ratio for move in matrices])
        if ratio >= LOW:
            course.low = -1
        elif course.low >= 0 and not rising and any(move.with_gradient for move in matrices):
            course.low += 1
        if course.low >= TIMES:
            self.find(
                "warning",
                "update-ratio-low",
                f"a step moves the weights by {ratio:.1g} of their size: nothing will be learned",
                evidence=f"median over {len(matrices)} matrices below {LOW:g} in {course.low} "
                f"steps, learning rate {course.rates[-1]:.2g}",
                way_out="raise the learning rate, or look at what scales the gradients down",
            )

    def _look_for_high(self, course: Course, matrices: list[Move]) -> None:
        ratio = middle([move.ratio for move in matrices])
        own = course.last.tensors if course.last else []
        begun = {id(one): first for one, first in zip(own, course.start or [], strict=False)}
        grown = middle([move.size / move.scale_of(begun.get(id(move.tensor))) for move in matrices])
        course.high += ratio > HIGH
        if self.loss is not None:
            self.losses.append(float(self.loss))
        worse = len(self.losses) > 1 and self.losses[-1] > 1.5 * abs(self.losses[0])
        course.raised += ratio > RAISED
        if course.high >= TIMES or grown > GROWTH or (worse and course.raised >= TIMES):
            self.find(
                "warning",
                "update-ratio-high",
                f"a step moves the weights by {ratio:.2g} times their size",
                about=self.watch.name(matrices[0].tensor),
                evidence=f"median over {len(matrices)} matrices; they are {grown:.2g} times as "
                f"large as at first; learning rate {course.rates[-1]:.2g}",
                way_out="lower the learning rate by a factor of ten or more",
            )


class Move:
    """What one step did to the sample of one tensor."""

    def __init__(self, tensor: Tensor, before: Tensor, after: Tensor, gradient: Tensor) -> None:
        self.tensor = tensor
        self.before, self.after = before.float(), after.float()
        self.mask = gradient != 0
        self.finite = gradient.isfinite().all() & self.after.isfinite().all()
        self.with_gradient = int(self.mask.sum())
        self.unchanged = int((self.mask & (before == after)).sum())

    @property
    def size(self) -> float:
        """The root mean square of the weights."""
        return root_mean_square(self.after)

    @property
    def ratio(self) -> float:
        """How far the elements with a gradient went, as a share of the size of the weights."""
        if not self.with_gradient:
            return 0.0
        moved = (self.after - self.before)[self.mask]
        return root_mean_square(moved) / self.scale_of(self.before)

    def scale_of(self, values: Tensor | None) -> float:
        """Return the size of weights, or the usual one at the start where they are smaller."""
        usual: float = (self.tensor.shape[0] / self.tensor.numel()) ** 0.5  # 1 / sqrt(inputs)
        return max(root_mean_square(values.float()) if values is not None else 0.0, usual)


def varied(values: Tensor) -> bool:
    """Say whether values are many: those clamped or rounded by hand return without being reset."""
    return bool(2 * values.abs().unique().numel() > values.numel())


def sampled_gradient(one: Tensor) -> Tensor | None:
    """Return the elements of a gradient that belong to the sample of its tensor."""
    if one.grad is None or one.grad.layout is not torch.strided:
        return None
    return sample(one.grad)


def root_mean_square(values: Tensor) -> float:
    """Return the root of the mean of the squares."""
    return float(values.double().norm() / max(1, values.numel()) ** 0.5)


def middle(values: list[float]) -> float:
    """Return the median."""
    return sorted(values)[len(values) // 2]
