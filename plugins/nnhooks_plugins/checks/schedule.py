"""Does the learning rate go where a schedule should take it, of the optimizer that steps?

LRScheduler.step                                        # wrapped
register_optimizer_step_post_hook(...)                  # with which learning rate?
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from nnhooks import Check
from nnhooks_plugins.checks._followed import held_by

ZERO = 4  # steps in a row with a learning rate of 0 that nothing will change
WAITING = 12  # and where a schedule may still change it
STEPS = 8  # of the optimizer, before a schedule that does not move is worth a word
COLLAPSED = 1e-4  # of the highest learning rate there was


class Schedule(Check):
    """Judges when schedulers step, what they drive, and what becomes of the learning rate."""

    def __init__(self) -> None:
        super().__init__()
        self.moves: Counter[Any] = Counter()  # of each scheduler
        self.of: dict[Optimizer, Any] = {}  # the scheduler that moves it
        self.early: Counter[Optimizer] = Counter()  # before the first step
        self.unscaled: set[Optimizer] = set()
        self.zero: Counter[Optimizer] = Counter()
        self.peak: dict[Optimizer, float] = {}
        self.low: Counter[Optimizer] = Counter()  # steps far below the peak
        self.began: dict[Optimizer, bool] = {}  # had it stepped before we watched?

    def after_schedule(self, scheduler: Any) -> None:
        optimizer = getattr(scheduler, "optimizer", None)
        if optimizer is None or getattr(scheduler, "_is_initial", False):
            return
        self.moves[scheduler] += 1
        self.of[optimizer] = scheduler
        if not self.watch.steps.get(optimizer) and not self.had_stepped(optimizer):
            self.early[optimizer] += 1
        self.judge_foreign(scheduler, optimizer)
        self.judge_turn(scheduler, optimizer)

    def after_unscale(self, scaler: Any, optimizer: Optimizer) -> None:
        self.unscaled.add(optimizer)  # its first steps may be left out

    def on_optimizer(self, optimizer: Optimizer) -> None:
        self.began[optimizer] = bool(getattr(optimizer, "_opt_called", False) or optimizer.state)

    def after_step(self, optimizer: Optimizer) -> None:
        if self.early.pop(optimizer, 0) == 1 and optimizer not in self.unscaled:
            self.say_early()
        rates = [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]
        rate = max(rates, default=1.0)
        peak = self.peak[optimizer] = max(self.peak.get(optimizer, 0.0), rate)
        self.zero[optimizer] = self.zero[optimizer] + 1 if rate == 0 else 0
        self.low[optimizer] += rate < COLLAPSED * peak
        if not all(math.isfinite(one) for one in rates):
            self.say_not_finite(rates)
        elif rate == 0:
            self.judge_zero(optimizer)
        elif rate < COLLAPSED * peak:
            self.judge_collapsed(optimizer, rate)

    def on_epoch_end(self) -> None:
        if self.watch.epoch >= 3:  # one that waits for the second epoch would have moved
            self.judge_never()

    def on_end(self) -> None:
        self.judge_never()
        self.judge_slow()
        for optimizer, low in self.low.items():
            if low > 0.5 * self.watch.steps[optimizer] and low >= STEPS:
                self.say_collapsed(optimizer, self.rate(optimizer))

    def had_stepped(self, optimizer: Optimizer) -> bool:
        """Say whether an optimizer had stepped before it was watched."""
        return self.began.get(optimizer, False)

    def rate(self, optimizer: Optimizer) -> float:
        """Return the largest learning rate of an optimizer."""
        return max(float(group["lr"]) for group in optimizer.param_groups)

    def is_scheduled(self, optimizer: Optimizer) -> bool:
        """Say whether a scheduler was made for an optimizer."""
        return optimizer in self.of or any(
            "initial_lr" in group for group in optimizer.param_groups
        )

    def progress(self) -> float | None:
        """Return how much of the training is over, where somebody has told; else None."""
        epochs = self.watch.facts.get("epochs")
        return (self.watch.epoch - 1) / epochs if epochs else None

    def judge_zero(self, optimizer: Optimizer) -> None:
        """Judge steps that cannot move anything."""
        scheduled, steps = self.is_scheduled(optimizer), self.zero[optimizer]
        if steps != (WAITING if scheduled else ZERO):
            return
        self.find(
            "warning" if scheduled else "error",
            "lr-zero",
            "the optimizer steps with a learning rate of 0: nothing moves",
            evidence=f"lr = 0 in all {len(optimizer.param_groups)} parameter groups, "
            f"{steps} steps in a row",
            way_out="end training where the schedule ends, or give it more steps"
            if self.peak[optimizer]
            else "give the optimizer a learning rate above 0",
        )

    def judge_collapsed(self, optimizer: Optimizer, rate: float) -> None:
        """Judge a learning rate that has all but vanished long before the end."""
        progress = self.progress()
        if self.low[optimizer] >= 2 and progress is not None and progress < 0.5:
            self.say_collapsed(optimizer, rate)

    def say_collapsed(self, optimizer: Optimizer, rate: float) -> None:
        scheduler = self.of.get(optimizer)
        moves = self.moves[scheduler] if scheduler is not None else 0
        self.find(
            "warning",
            "lr-collapsed",
            "the learning rate has all but vanished long before the end of training",
            evidence=f"from {self.peak[optimizer]:.3g} to {rate:.3g} in "
            f"{self.watch.steps[optimizer]} steps, {moves} of the scheduler",
            way_out="step a schedule that counts epochs once an epoch, not once a batch",
        )

    def judge_never(self) -> None:
        """Judge schedulers that were made and never stepped."""
        schedulers = list(self.watch.facts.get("schedulers") or ())
        idle = [one.optimizer for one in schedulers if not self.moves[one]]
        idle += [o for o in self.watch.steps if self.is_scheduled(o) and o not in self.of]
        for optimizer in idle:
            if self.watch.steps.get(optimizer, 0) >= STEPS and optimizer not in self.of:
                self.find(
                    "warning",
                    "scheduler-never-stepped",
                    "a learning rate scheduler was made for this optimizer, and never stepped",
                    evidence=f"{self.watch.steps[optimizer]} steps of the optimizer, "
                    f"lr {self.rate(optimizer):g} in all of them",
                    way_out="call scheduler.step() after each epoch (or batch, as it counts)",
                    place="",
                )

    def judge_slow(self) -> None:
        """Judge a schedule made for so many steps as there were, that hardly went on."""
        for scheduler, moves in self.moves.items():
            steps = self.watch.steps.get(scheduler.optimizer, 0)
            whole = getattr(scheduler, "total_steps", None) or getattr(scheduler, "T_max", None)
            if (
                isinstance(whole, int)
                and whole >= 2 * STEPS
                and abs(steps - whole) <= 0.05 * whole + 1
                and moves <= whole / 4
            ):
                self.find(
                    "warning",
                    "scheduler-too-slow",
                    "the schedule is as long as the steps of the optimizer, but hardly went on",
                    evidence=f"made for {whole} steps; the optimizer made {steps}, it {moves}",
                    way_out="call scheduler.step() after every step of the optimizer",
                    place="",
                )

    def judge_foreign(self, scheduler: Any, optimizer: Optimizer) -> None:
        """Judge whether it is the optimizer that steps whose learning rate moves."""
        if self.watch.steps.get(optimizer) or self.had_stepped(optimizer):
            return
        own = {id(parameter) for parameter in held_by(optimizer)}
        for other, steps in self.watch.steps.items():
            if other.param_groups is optimizer.param_groups:
                return  # one is a wrapper of the other: they share the learning rates
            if steps >= 2 and any(id(p) in own for p in held_by(other)):
                self.find(
                    "error",
                    "scheduler-foreign",
                    "the scheduler drives an optimizer that does not step; another one does, with "
                    "the same parameters",
                    evidence=f"{steps} steps of the other, none of this one",
                    way_out="make the scheduler from the optimizer that steps",
                )

    def judge_turn(self, scheduler: Any, optimizer: Optimizer) -> None:
        """Judge a cosine that comes up again."""
        if type(scheduler) is CosineAnnealingLR and scheduler.last_epoch == scheduler.T_max + 2:
            self.find(
                "warning",
                "scheduler-past-end",
                "the cosine schedule has passed its end: the learning rate rises again",
                evidence=f"T_max is {scheduler.T_max}, this is its step {scheduler.last_epoch}; "
                f"the optimizer has made {self.watch.steps.get(optimizer, 0)}",
                way_out="let T_max be how often scheduler.step() is called in all of training",
            )

    def say_early(self) -> None:
        """Report a schedule that began before training."""
        self.find(
            "warning",
            "scheduler-before-step",
            "the scheduler stepped before the optimizer's first step: the first learning rate of "
            "the schedule was skipped",
            evidence="1 step of the scheduler, none of the optimizer",
            way_out="call scheduler.step() after optimizer.step()",
        )

    def say_not_finite(self, rates: list[float]) -> None:
        """Report a learning rate that is no number."""
        self.find(
            "error",
            "lr-not-finite",
            "the learning rate is not finite",
            evidence=f"lr = {rates}",
            way_out="look for a division by zero in the schedule",
        )


EXPLAINED = {
    "scheduler-before-step": """\
A scheduler's first value holds from the beginning. If it steps before the optimizer, that value is
never used, and the whole schedule is one ahead.

    wrong: for epoch in epochs: scheduler.step(); train()
    right: for epoch in epochs: train(); scheduler.step()
""",
    "scheduler-never-stepped": """\
A scheduler only moves the learning rate when its step() is called.

    wrong: scheduler = StepLR(optimizer, 10); for epoch in epochs: train()
    right: scheduler = StepLR(optimizer, 10); for epoch in epochs: train(); scheduler.step()
""",
    "scheduler-foreign": """\
A scheduler writes into the param_groups of the optimizer it was made from, and no other.

    wrong: scheduler = StepLR(optimizer, 10); optimizer = SGD(model.parameters(), 0.1)
    right: optimizer = SGD(model.parameters(), 0.1); scheduler = StepLR(optimizer, 10)
""",
    "scheduler-past-end": """\
CosineAnnealingLR reaches its lowest value after T_max calls of step(), and rises again after.
Mostly T_max counts epochs, and step() is called for every batch.

    wrong: CosineAnnealingLR(optimizer, T_max=epochs)  # and step() for every batch
    right: CosineAnnealingLR(optimizer, T_max=epochs * len(batches))
""",
    "scheduler-too-slow": """\
The schedule was made for as many steps as the optimizer makes, but step() was called once an epoch:
the learning rate has hardly moved.

    wrong: OneCycleLR(optimizer, 0.1, total_steps=epochs * len(batches))  # step() every epoch
    right: the same, and scheduler.step() after every optimizer.step()
""",
    "lr-collapsed": """\
A schedule made for epochs, stepped for every batch, brings the learning rate to almost nothing
within the first epochs; training then stands still.

    wrong: for batch in batches: train(batch); scheduler.step()
    right: for batch in batches: train(batch)
           scheduler.step()
""",
    "lr-zero": """\
With a learning rate of 0 a step changes nothing.

    wrong: SGD(model.parameters(), lr=0.0)
    right: SGD(model.parameters(), lr=0.1)
""",
    "lr-not-finite": """\
A learning rate that is NaN or infinite makes every weight NaN or infinite in one step.
""",
}
