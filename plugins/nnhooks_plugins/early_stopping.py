"""Enough is enough.

In plain PyTorch:

    for epoch in range(epochs):
        ...
        waited = 0 if validation_loss < best else waited + 1
        best = min(best, validation_loss)
        if waited >= patience:
            break
"""

from __future__ import annotations

from math import inf
from typing import Annotated, Any, Literal

from annotated_types import Ge

from nnhooks import Trainer, hookimpl
from nnhooks_plugins._monitored import monitored


class EarlyStopping:
    """Stops training once `monitor` has not improved for `patience` epochs in a row.

    Better is lower (`mode` "min") or higher ("max") by more than `min_delta`; NaN is never better.
    Epochs without validation do not count.
    """

    def __init__(
        self,
        monitor: str = "validation/loss",
        patience: Annotated[int, Ge(1)] = 3,
        mode: Literal["min", "max"] = "min",
        min_delta: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        self.monitor, self.patience = monitor, patience
        self.mode, self.min_delta = mode, min_delta
        self.best, self.waited = inf if mode == "min" else -inf, 0

    @hookimpl
    def on_epoch_end(self, trainer: Trainer) -> None:
        value = monitored(trainer, self.monitor)
        if value is None:
            return
        if self.is_better(value):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            verb = "fallen below" if self.mode == "min" else "risen above"
            epochs = "epoch" if self.patience == 1 else "epochs"
            trainer.stop(
                f"{self.monitor} has not {verb} {self.best:.4g} for {self.patience} {epochs}"
            )

    def is_better(self, value: float) -> bool:
        """Say whether a value improves on the best so far."""
        if self.mode == "min":
            return value < self.best - self.min_delta
        return value > self.best + self.min_delta

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]
