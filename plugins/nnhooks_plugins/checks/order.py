"""Is what an optimizer uses the gradient of this step, made once, used once? In plain PyTorch:

held = parameter.grad, parameter.grad._version  # at each of these moments:
torch.autograd.backward                         # wrapped: what has backward added to?
register_optimizer_step_pre_hook(...)           # what does .grad hold now?
register_optimizer_step_post_hook(...)          # it has been used
loss.grad_fn.metadata[...] = ...                # which weights made this loss?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks import Check
from nnhooks_plugins._gradient import has_value
from nnhooks_plugins.checks._followed import Followed, Following, held_by
from nnhooks_plugins.checks._order_words import EXPLAINED as EXPLAINED
from nnhooks_plugins.checks._order_words import (
    FLAWS,
    Verdict,
    never_stepped,
    not_zeroed,
    only_zeros,
    step_outside,
    thrown_away,
    used_twice,
    without_gradient,
)

PASS, STEPS = "nnhooks.pass", "nnhooks.steps"  # what we write on the graph, as plain numbers
EMPTY = 2  # steps in a row without a gradient, before that is a mistake and no exception
IDLE = 16  # steps that never had one, where other optimizers step with gradients
ZERO = 5  # inspected steps in a row in which every gradient is exactly zero
UNSTEPPED = 16  # backward passes whose gradients are zeroed, and no optimizer ever steps
DISCARDS = 4  # times in a step that gradients were zeroed unused, before it is a mistake


class Order(Check):
    """Judges what gradients hold at the moment an optimizer uses them, whatever led to it.

    So it is right to zero gradients at any time and in any way, to call backward for many batches
    or losses, to throw passes away on purpose (SAM, a GAN's generator), to skip steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.following = Following()
        self.passes = self.forwards = 0
        self.waiting = 0  # backward passes since any optimizer stepped
        self.batches = 0  # batches since any optimizer stepped, where somebody tells
        self.told = self.training = False
        self.before = 0  # passes when the optimizer that steps began to
        self.verdict: Verdict | None = None
        self.zeroed: Counter[Optimizer] = Counter()  # calls of zero_grad
        self.discards: Counter[Optimizer] = Counter()  # that cleared what was unused, in this step
        self.wasteful: Counter[Optimizer] = Counter()  # steps with too many of those
        self.reached: Counter[Optimizer] = Counter()  # backward passes
        self.empty: Counter[Optimizer] = Counter()  # steps in a row without a gradient
        self.zero: Counter[Optimizer] = Counter()  # steps in a row with nothing but zeros
        self.used_at: dict[Optimizer, int] = {}  # passes when it stepped last
        self.stepped: set[Optimizer] = set()  # with gradients
        self.asked: set[Optimizer] = set()  # to step, by a scaler
        self.flaws: dict[int, str] = {}  # of the pass that runs, by parameter or for all (0)
        self.repeats: set[int] = set()  # earlier passes that are a part of the one that runs
        self.plain = True  # nothing but parameters is asked for gradients

    # What happens

    def on_optimizer(self, optimizer: Optimizer) -> None:
        self.following.follow(optimizer)

    def on_batch(self, inputs: Any, target: Any) -> None:
        self.batches += 1
        self.told = True

    def after_forward(self, model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if torch.is_grad_enabled():
            self.forwards += 1
            self.training = model.training
            if self.watch.inspecting:
                self.mark(model, output)

    def before_backward(self, losses: Sequence[Tensor]) -> None:
        for optimizer in tuple(self.following.of):
            self.following.look(optimizer, self.watch.step, self.forwards)
        self.flaws.clear()
        self.repeats.clear()
        if self.watch.inspecting and self.watch.graph:
            self.read_marks()
        for loss in losses:
            if loss.numel() == 1 and loss.grad_fn is not None:
                metadata_of(loss.grad_fn)[PASS] = self.passes + 1

    def after_backward(self, losses: Sequence[Tensor]) -> None:
        self.passes += 1
        reached = self.following.passed(self.passes, self.watch.step)
        for optimizer, gradients in reached.items():
            self.reached[optimizer] += 1
            for gradient in gradients:
                if self.repeats.intersection(gradient.held):
                    gradient.flaw = "backward-twice"
                elif id(gradient.parameter) in self.flaws:
                    gradient.flaw = self.flaws[id(gradient.parameter)]
        if reached and self.training:
            self.waiting += 1
            self.judge_waiting()

    def after_zero_grad(self, optimizer: Optimizer) -> None:
        unused = any(one.passes and not one.used for one in self.following[optimizer])
        self.following.look(optimizer, self.watch.step, self.forwards)
        self.zeroed[optimizer] += 1
        self.discards[optimizer] += (
            unused and self.plain and self.training and self.watch.inspecting
        )

    def after_clip(self, parameters: Sequence[Tensor], limit: float, norm: Tensor | None) -> None:
        self.remember()

    def after_unscale(self, scaler: Any, optimizer: Optimizer) -> None:
        self.waiting = self.batches = 0  # it is asked to step, if the scaler lets it
        self.asked.add(optimizer)
        self.remember()

    def before_step(self, optimizer: Optimizer) -> None:
        self.following.look(optimizer, self.watch.step, self.forwards)
        self.before, self.verdict = self.passes, self.judge(optimizer)

    def after_step(self, optimizer: Optimizer) -> None:
        if self.passes > self.before:  # inside, by a closure: what was used is known only now
            self.following.look(optimizer, self.watch.step, self.forwards)
            self.verdict = self.judge(optimizer)
        if self.verdict:
            self.say(self.verdict)
        for gradient in self.following[optimizer]:
            gradient.spend()
        self.used_at[optimizer] = self.passes
        self.waiting = self.batches = self.discards[optimizer] = 0
        if not self.empty[optimizer]:
            self.stepped.add(optimizer)

    def on_end(self) -> None:
        for optimizer, passes in self.reached.items():
            if optimizer in self.asked:
                continue
            if optimizer not in self.used_at and passes >= 3 and not self.is_replaced(optimizer):
                alone = not self.used_at
                if alone or self.zeroed[optimizer] >= 3:
                    self.say(never_stepped(optimizer, passes, "error" if alone else "warning"))
        for optimizer in () if self.found else self.used_at:
            if optimizer not in self.stepped and self.empty[optimizer] >= IDLE:
                self.say(replace(without_gradient(optimizer, False), level="warning"))

    # What is written on the graph: numbers, so that it keeps nothing alive

    def mark(self, model: nn.Module, output: Any) -> None:
        """Write on an output how often the optimizers of its weights have stepped."""
        own = {id(parameter) for parameter in model.parameters()}
        steps = {
            id(optimizer): self.watch.steps.get(optimizer, 0)
            for optimizer, gradients in self.following.of.items()
            if any(id(gradient.parameter) in own for gradient in gradients)
        }
        for tensor in tensors(output) if steps else ():
            if tensor.grad_fn is not None:
                metadata_of(tensor.grad_fn).setdefault(STEPS, steps)

    def read_marks(self) -> None:
        """See from which weights and earlier losses the loss was made that goes backward."""
        assert self.watch.graph is not None
        leaves = self.watch.graph.leaves
        self.plain = all(isinstance(leaf, nn.Parameter) for leaf in leaves.values())
        now = {id(optimizer): count for optimizer, count in self.watch.steps.items()}
        old: set[int] = set()
        for node in self.watch.graph.nodes:
            marks = metadata_of(node)
            if PASS in marks:
                self.repeats.add(marks[PASS])
            for optimizer, count in marks.get(STEPS, {}).items():
                if count < now.get(optimizer, 0):
                    old.add(optimizer)
        for optimizer, gradients in self.following.of.items():
            if id(optimizer) in old:
                self.flaws.update({id(one.parameter): "stale-forward" for one in gradients})

    # What is wrong with it

    def judge(self, optimizer: Optimizer) -> Verdict | None:
        """Judge what the gradients of an optimizer hold, now that it uses them."""
        followed = self.following[optimizer]
        holding = [gradient for gradient in followed if gradient.passes]
        if not holding:
            return self.judge_empty(optimizer, followed)
        self.empty[optimizer] = 0
        for gradient in holding:
            if gradient.reused:
                return not_zeroed(gradient, self.watch.name(gradient.parameter))
        for gradient in holding:
            if gradient.used:
                again = self.used_at.get(optimizer, 0) == self.passes
                return used_twice(gradient, self.watch.name(gradient.parameter), again)
        for gradient in holding:
            if gradient.flaw:
                return FLAWS[gradient.flaw](gradient, self.watch.name(gradient.parameter))
        return self.judge_lost(optimizer, holding) or self.judge_zero(optimizer, holding)

    def judge_empty(self, optimizer: Optimizer, followed: list[Followed]) -> Verdict | None:
        """Judge a step that no gradient leads to."""
        if any(p.grad is not None and has_value(p.grad) for p in held_by(optimizer)):
            self.following.follow(optimizer)
            return None
        self.empty[optimizer] += 1
        others = self.stepped - {optimizer}
        lost = [gradient for gradient in followed if gradient.lost]
        if self.empty[optimizer] < EMPTY:
            return None
        if lost and lost[0].cleared_at == self.forwards:
            return thrown_away(lost[0], self.watch.name(lost[0].parameter))
        if others:
            return None  # a task or an expert that has no turn now, a part that is frozen for now
        return without_gradient(optimizer, bool(self.reached[optimizer]))

    def judge_lost(self, optimizer: Optimizer, holding: list[Followed]) -> Verdict | None:
        """Judge whether gradients were cleared between the batches that should make one step."""
        gradient = max(holding, key=lambda one: one.lost)
        if len(self.used_at) > 1 or not self.plain:
            return None
        batches = self.batches if self.told else (self.watch.facts.get("accumulate") or 0)
        if batches > 1 and gradient.passes + gradient.lost >= batches > gradient.passes == 1:
            return thrown_away(gradient, self.watch.name(gradient.parameter), batches)
        if self.discards[optimizer] >= DISCARDS:
            self.wasteful[optimizer] += 1
            if self.wasteful[optimizer] == 2:
                return step_outside(gradient, self.watch.name(gradient.parameter))
        return None

    def judge_zero(self, optimizer: Optimizer, holding: list[Followed]) -> Verdict | None:
        """Judge whether all that backward has brought are zeros."""
        if not self.watch.inspecting:
            return None
        empty = not any(
            has_value(g) for g in (one.parameter.grad for one in holding) if g is not None
        )
        if empty and not any(p.grad is not None and has_value(p.grad) for p in held_by(optimizer)):
            self.zero[optimizer] += 1
        else:
            self.zero[optimizer] = 0
        return only_zeros(self.zero[optimizer]) if self.zero[optimizer] == ZERO else None

    def judge_waiting(self) -> None:
        """Judge whether backward goes on and on, and nobody steps."""
        accumulate = self.watch.facts.get("accumulate")
        batches = self.batches if accumulate else 0
        zeroed = not self.used_at and max(self.zeroed.values(), default=0) >= UNSTEPPED // 2
        limit = 8 * (accumulate or 1) + UNSTEPPED - 8
        if self.waiting >= limit and (zeroed or batches >= limit):
            optimizer = max(self.reached, key=lambda one: self.reached[one])
            self.say(never_stepped(optimizer, self.waiting, "error"))

    def is_replaced(self, optimizer: Optimizer) -> bool:
        """Say whether another optimizer steps the same parameters."""
        own = {id(parameter) for parameter in held_by(optimizer)}
        return any(id(p) in own for other in self.used_at for p in held_by(other))

    def remember(self) -> None:
        """Know the gradients as they are: what changed them was no backward, and no hand."""
        for gradients in self.following.of.values():
            for gradient in gradients:
                if gradient.passes:
                    gradient.remember()

    def say(self, verdict: Verdict) -> None:
        """Report a verdict."""
        self.find(
            verdict.level,
            verdict.rule,
            verdict.message,
            about=verdict.about,
            evidence=verdict.evidence,
            way_out=verdict.way_out,
        )


def metadata_of(node: Any) -> dict[str, Any]:
    """Return what is written on a node of the graph."""
    return node.metadata  # type: ignore[no-any-return]


def tensors(output: Any) -> Iterator[Tensor]:
    """Yield the tensors in what a model returns."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for value in output.values():
            yield from tensors(value)
    elif isinstance(output, list | tuple):
        for value in output:
            yield from tensors(value)
