"""Is every step really zero_grad, forward, loss, backward, optimizer step? In plain PyTorch:

for parameter in model.parameters():
    parameter.register_hook(...)                        # backward is about to add to .grad
    parameter.register_post_accumulate_grad_hook(...)   # and has added
model.register_forward_pre_hook(...)
register_optimizer_step_pre_hook(...)                   # what does .grad hold now?
register_optimizer_step_post_hook(...)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from torch import nn
from torch.optim import Optimizer

from nnhooks import Batch, Finding, Trainer, hookimpl
from nnhooks_plugins._evidence import Evidence, guarded, is_compiled, parameters
from nnhooks_plugins._gradient import dense

Level = Literal["error", "warning", "ok"]

DOCUMENTED = "zero_grad, (forward, loss, backward) once or more, step"
CAUSES = {  # what is wrong, and the way out
    "not zeroed": (
        "the optimizer used gradients of an earlier step together with those of this one",
        "call optimizer.zero_grad() first in every step",
    ),
    "only claimed": (
        "zero_grad was announced, but the gradients of an earlier step were still there",
        "call zero_grad() of the optimizer that steps, before announcing after_zero_grad",
    ),
    "thrown away": (
        "gradients were zeroed after backward, before the optimizer could use them",
        "call optimizer.zero_grad() before the forward pass, never between backward and step",
    ),
    "no backward": (
        "the optimizer stepped without a backward pass of this step",
        "call loss.backward() in every step",
    ),
    "step before backward": (
        "the optimizer stepped before backward had made the gradients of this step",
        "call loss.backward() before optimizer.step()",
    ),
    "backward twice": (
        "backward went twice through the same loss: the gradients are doubled",
        "call loss.backward() once for each forward pass",
    ),
    "step twice": (
        "the optimizer stepped twice with the same gradients",
        "call optimizer.step() once in a step, or backward again in between",
    ),
    "no step": (
        "the optimizer did not step, and nobody asked to skip it",
        "call optimizer.step() once in every train_step; let the Trainer `accumulate` batches",
    ),
    "foreign optimizer": (
        "the optimizer holds other parameters than those that are trained",
        "make the optimizer from model.parameters(), after the model has its last form",
    ),
}


class GradientOrder(Evidence):
    """Judges the order of every step by what PyTorch did, not by what was announced.

    So a `train_step` of one's own is judged too, even one that announces nothing. A wrong order is
    reported once for each cause, and training goes on as if nobody had looked. What counts is
    which backward passes a gradient holds when the optimizer uses it. So it is also right to zero
    at any other time between two uses, to call backward for several losses of a step, to drop
    passes on purpose as SAM does, to step with a closure, and to skip a step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.orders: Counter[tuple[str, ...]] = Counter()
        self.reported: set[str] = set()

    @hookimpl
    def on_fit_start(self, trainer: Trainer) -> None:
        self.trainer, self.blind = trainer, ""
        self.orders.clear()
        self.reported.clear()

    @hookimpl
    def on_epoch_start(self) -> None:
        self.known.clear()  # parameters may have been added to an optimizer since

    @hookimpl
    def on_step_start(self, batches: Sequence[Batch]) -> None:
        self.batches, self.announced = len(batches), False
        self.causes: dict[str, str] = {}
        self.begin()

    @hookimpl
    def after_zero_grad(self) -> None:
        self.announced = True
        if self.inside:
            self.look()
            if not self.ran and not any(gradient.passes for gradient in self.gradients):
                self.ran.append("zero_grad")  # there was nothing to clear

    @hookimpl
    def before_forward(self, trainer: Trainer) -> None:
        if self.inside and is_compiled(trainer.model):  # a hook would be compiled along
            self.saw_forward()

    @hookimpl
    def after_loss(self) -> None:
        self.ran.append("loss")

    @hookimpl
    def on_step_end(self) -> None:
        if self.inside:
            self.end_step()
            self.inside = False

    @hookimpl
    def on_fit_end(self) -> None:
        self.unwatch()
        if self.inside:  # something was raised in a step: what led to it may be known
            self.inside = False
            self.report()
        if self.blind:
            self.say("warning", "saw nothing from here on", self.blind, "report this as a bug")
        elif self.orders and not self.reported:
            self.say("ok", "the gradients of every step were made and used in order", self.seen())

    def meet(self, optimizer: Optimizer) -> None:
        """Judge whether an optimizer holds the parameters that are trained."""
        followed, held = self.known[optimizer], parameters(optimizer)
        if not followed and optimizer is not self.trainer.optimizer:
            return
        named = dict(self.trainer.model.named_parameters())
        own = set(map(id, named.values()))
        idle = any(p.grad is None for key, p in held.items() if key not in own)
        left = [name for name, p in named.items() if p.grad is not None and id(p) not in held]
        if not followed or (idle and left):
            names = f"left out are {listed(left)}" if left else "none of them is trained"
            self.causes["foreign optimizer"] = f"it holds {len(held)} parameters; {names}"

    def judge(self, optimizer: Optimizer) -> None:
        """Judge what the gradients hold when an optimizer uses them."""
        step, followed = self.trainer.step, self.known[optimizer]
        if not followed:
            return
        holding = [gradient for gradient in followed if gradient.passes]
        stale = [gradient for gradient in holding if gradient.is_stale(step)]
        if not holding:
            name = "thrown away" if "backward" in self.ran else "no backward"
            self.causes[name] = f"{listed([gradient.name for gradient in followed])}: no gradient"
        elif all(gradient.used for gradient in holding):
            name = "step twice" if self.ran.count("step") > 1 else "no backward"
            self.causes[name] = str(holding[0])
        elif all(gradient.last < step for gradient in holding):
            self.causes["no backward"] = str(holding[0])
        elif stale:
            claimed = self.announced and "zero_grad" not in self.ran
            self.causes["only claimed" if claimed else "not zeroed"] = str(stale[0])
        elif self.lost_batches(max(gradient.passes for gradient in holding)):
            self.causes["thrown away"] = f"{holding[0]}, of {self.batches} batches"

    def lost_batches(self, passes: int) -> bool:
        """Say whether gradients were cleared between the backward passes of a step's batches."""
        _, _, later = ",".join(self.ran).partition("backward")
        return "zero_grad" in later and passes < min(self.batches, self.ran.count("backward"))

    @guarded
    def end_step(self) -> None:
        """Judge what can be judged only once the step is over, and report what is new."""
        if not self.moved:
            if self.trainer.skip_reason or overflowed(self.trainer.model):
                self.ran.append("skipped")
            else:
                self.causes["no step"] = "no step of an optimizer that holds the model's parameters"
        if self.repeated and any(all(same) for same in self.repeated.values()):
            self.causes["backward twice"] = "the second pass brought the very same gradients"
        if not self.causes:
            self.orders[tuple(self.ran)] += 1
        else:
            self.report()

    def report(self) -> None:
        """Report the causes that are new."""
        for name, evidence in self.causes.items():
            if name == "no backward" and "backward" in self.ran[self.ran.index("step") :]:
                name = "step before backward"
            if name not in self.reported:
                self.reported.add(name)
                what, way_out = CAUSES[name]
                ran = f"  ran         {written(self.ran)}\n  documented  {DOCUMENTED}"
                self.say("error", f"{what}\n{ran}", evidence, way_out)

    def say(self, level: Level, message: str, evidence: str, way_out: str = "") -> None:
        """Report a finding; only an error is about the step that runs."""
        self.trainer.report(
            Finding(
                check="gradient_order",
                level=level,
                step=self.trainer.step if level == "error" else None,
                message=message,
                evidence=evidence,
                way_out=way_out,
            )
        )

    def seen(self) -> str:
        """Return in which order the steps ran, and how many in each."""
        total, counts = self.orders.total(), Counter[str]()
        for ran, count in self.orders.items():
            counts[written(ran)] += count
        return "; ".join(f"{ran}: {n} of {total} steps" for ran, n in counts.most_common(3))


def written(ran: Sequence[str]) -> str:
    """Write an order, with a number where batch after batch ran alike."""
    return re.sub(
        r"\b(forward(?:, loss)?, backward)((?:, \1)+)",
        lambda found: f"({found[1]}) x {1 + found[2].count('backward')}",
        ", ".join(ran),
    )


def overflowed(model: nn.Module) -> bool:
    """Say whether a gradient is not finite: that is when a GradScaler skips a step."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return not all(bool(dense(gradient).isfinite().all()) for gradient in gradients)


def listed(names: Sequence[str]) -> str:
    """Name the first, and how many more."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
