"""The metrics of a run, one JSON object a line.

In plain PyTorch:

    for epoch in range(1, epochs + 1):
        ...
        with open("metrics.jsonl", "a") as file:
            file.write(json.dumps({"epoch": epoch, "step": step, "loss": mean_loss}) + "\\n")
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from math import isfinite, isnan
from time import monotonic
from typing import Any, Literal

from torch import Tensor

from nnhooks import Trainer, hookimpl, samples

SECONDS_BETWEEN_WRITES = 1.0


class JsonlLog:
    """Writes a line with all metrics of each epoch; with `every` "step", a line for each step too.

    `path` starts from the run's folder, so that no run writes over another's.
    A line of a step says so by `"every": "step"`; it has the step's loss and what was logged in it.
    JSON has no NaN: it is written as text, "NaN", "Infinity" or "-Infinity", which `float` and
    pandas read back. A resumed run cuts the file to what its checkpoint knew, and goes on there.
    """

    def __init__(
        self, path: str = "metrics.jsonl", every: Literal["epoch", "step"] = "epoch"
    ) -> None:
        self.path = path
        self.is_main = True
        self.length = 0
        self.steps: list[dict[str, Any]] = []
        self.written = 0.0
        if every == "epoch":  # then no step should pay for listening
            self.on_step_start = None  # type: ignore[method-assign, assignment]
            self.after_loss = None  # type: ignore[method-assign, assignment]

    @hookimpl
    def on_setup(self, trainer: Trainer) -> None:
        self.file = trainer.folder / self.path

    @hookimpl
    def on_fit_start(self, trainer: Trainer) -> None:
        self.is_main = trainer.is_main
        if self.is_main:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("ab") as file:
                self.length = min(self.length, file.tell())
                file.truncate(self.length)

    @hookimpl(tryfirst=True)  # what is logged from here on belongs to this step
    def on_step_start(self, trainer: Trainer) -> None:
        if monotonic() - self.written > SECONDS_BETWEEN_WRITES:
            self.write_steps()
        self.steps.append(
            {"every": "step", "epoch": trainer.epoch, "step": trainer.step, "loss": []}
        )

    @hookimpl
    def after_loss(self, output: Any, target: Any, loss: Tensor) -> None:
        self.steps[-1]["loss"].append((loss.detach(), samples((output, target))))

    @hookimpl
    def on_log(self, name: str, value: float) -> None:
        if self.steps:
            self.steps[-1][name] = value

    @hookimpl(tryfirst=True)  # what is logged from here on belongs to the epoch
    def on_evaluate(self) -> None:
        self.write_steps()

    @hookimpl
    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: Mapping[str, float]) -> None:
        self.write([{"epoch": epoch, "step": trainer.step, **metrics}])

    @hookimpl
    def on_fit_end(self) -> None:
        self.write_steps()

    def write_steps(self) -> None:
        """Write the lines that wait; only now is a loss fetched from its device."""
        self.write({**step, "loss": mean(step["loss"])} for step in self.steps)
        self.steps, self.written = [], monotonic()

    def write(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append whole lines, in one go."""
        lines = "".join(f"{json.dumps(plain(record))}\n" for record in records)
        if lines and self.is_main:
            with self.file.open("ab") as file:
                file.write(lines.encode())
                self.length = file.tell()

    def state_dict(self) -> dict[str, Any]:
        self.write_steps()
        if self.length and self.file.exists():
            with self.file.open("ab") as file:
                os.fsync(file.fileno())  # a checkpoint must not know more than the disk
        return {"length": self.length}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.length = state["length"]


def mean(losses: list[tuple[Tensor, int]]) -> float | None:
    """Return the loss of a step from those of its batches, by their samples."""
    if len(losses) < 2:
        return float(losses[0][0]) if losses else None
    count = sum(size for _, size in losses)
    return sum(float(loss) * size for loss, size in losses) / count


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record as JSON can say it."""
    return {name: number(value) for name, value in record.items()}


def number(value: Any) -> Any:
    """Return a number for JSON; NaN and infinity become the words that `float` understands."""
    if value is None or isinstance(value, str | int):
        return value
    value = float(value)
    if isfinite(value):
        return value
    if isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
