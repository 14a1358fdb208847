"""The learning rate follows a schedule.

In plain PyTorch:

    scheduler = CosineAnnealingLR(optimizer, T_max=epochs)
    for epoch in range(epochs):
        for inputs, target in batches:
            ...
            optimizer.step()
        scheduler.step()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from nnhooks import PluginError, Trainer, hookimpl
from nnhooks_plugins._monitored import monitored


class LrSchedule:
    """Moves the learning rate after every epoch, or after every step that was not skipped.

    `schedule` is called with the optimizer, as soon as there is one. `monitor` is the metric that
    ReduceLROnPlateau judges by; no other schedule has one. Logs `lr`, of the first parameter group,
    as it was when the epoch's last step was done.
    """

    def __init__(
        self,
        schedule: Callable[[Optimizer], LRScheduler],
        every: Literal["epoch", "step"] = "epoch",
        monitor: str | None = None,
    ) -> None:
        self.schedule, self.every, self.monitor = schedule, every, monitor
        if every == "epoch":
            self.after_optimizer_step = None  # type: ignore[method-assign, assignment]  # not called

    @hookimpl
    def on_setup(self, trainer: Trainer) -> None:
        make_optimizer = trainer.make_optimizer

        def make_both(parameters: Iterable[nn.Parameter]) -> Optimizer:
            optimizer = make_optimizer(parameters)
            self.scheduler = self.schedule(optimizer)
            self.check()
            return optimizer

        trainer.make_optimizer = make_both

    def check(self) -> None:
        """Refuse a schedule that would wait for a metric in vain, or never look at one."""
        name = type(self.scheduler).__name__
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            if self.monitor is not None:
                raise PluginError(f"{name} looks at no metric: leave out `monitor: {self.monitor}`")
        elif self.monitor is None:
            raise PluginError(
                f"{name} needs a metric to judge by, as in `monitor: validation/loss`"
            )
        elif self.every == "step":
            raise PluginError(f"{name} judges metrics, and those come with epochs: `every: epoch`")

    @hookimpl
    def after_optimizer_step(self, skipped: str) -> None:
        if not skipped:
            self.scheduler.step()

    @hookimpl
    def on_evaluate(self, trainer: Trainer) -> None:
        trainer.log("lr", float(trainer.optimizer.param_groups[0]["lr"]))

    @hookimpl
    def on_epoch_end(self, trainer: Trainer) -> None:
        if isinstance(self.scheduler, ReduceLROnPlateau) and self.monitor:
            if (value := monitored(trainer, self.monitor)) is not None:
                self.scheduler.step(value)
        elif self.every == "epoch":
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        return self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)
