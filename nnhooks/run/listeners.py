"""What a run itself listens for: findings to keep, errors to stop at, events to print."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import nnhooks
from nnhooks.findings import Finding
from nnhooks.hookspecs import hookimpl
from nnhooks.run.files import write
from nnhooks.run.record import finite
from nnhooks.trainer import Trainer

VERSION = 1  # of the events: it grows when a field changes its meaning


class Findings:
    """Keeps what checks have found, in `findings.jsonl`; a run that goes on adds to it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.before = file.read_text("utf-8").splitlines() if file.exists() else []
        self.written = 0

    @hookimpl
    def on_epoch_end(self, trainer: Trainer) -> None:
        self._write(trainer.findings)

    @hookimpl(trylast=True)  # checks report in their on_fit_end, too
    def on_fit_end(self, trainer: Trainer) -> None:
        self._write(trainer.findings)

    def _write(self, findings: list[Finding]) -> None:
        if len(findings) > self.written:
            lines = [*self.before, *(line(asdict(finding)) for finding in findings)]
            once = dict.fromkeys(lines)  # steps done again find the same again
            write(self.file, "".join(f"{one}\n" for one in once))
            self.written = len(findings)


class Strict:
    """Stops at the first error that a check finds."""

    @hookimpl
    def on_finding(self, trainer: Trainer, finding: Finding) -> None:
        if finding.level == "error":
            trainer.stop(f"{finding.check}: {finding.message}")


class Events:
    """Prints one JSON object for each event of a run."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def print(self, event: str, **fields: Any) -> None:
        """Print one event."""
        print(line({"event": event, **fields}), file=self.stream, flush=True)

    def begin(self, recipe: str, folder: Path, epochs: int, seed: int) -> None:
        """Print what is about to run, and where it is kept."""
        fields = {"nnhooks": nnhooks.__version__, "epochs": epochs, "seed": seed}
        self.print("run_start", v=VERSION, recipe=recipe, folder=str(folder), **fields)

    def end(self, facts: Mapping[str, Any]) -> None:
        """Print how the run ended, from its record."""
        names = ("outcome", "reason", "exit_code", "epoch", "step", "metrics", "findings")
        self.print("run_end", **{name: facts[name] for name in names})

    @hookimpl
    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: Mapping[str, float]) -> None:
        self.print("epoch", epoch=epoch, step=trainer.step, **metrics)

    @hookimpl
    def on_finding(self, finding: Finding) -> None:
        self.print("finding", **asdict(finding))


def line(fields: Mapping[str, Any]) -> str:
    """Return fields as one line of JSON."""
    return json.dumps(finite(dict(fields)), default=float)
