"""The record of a run: what was run, where, and how it ended; `run.json` in its folder."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from nnhooks.findings import Level
from nnhooks.run.files import write

if TYPE_CHECKING:
    from nnhooks.trainer import Trainer

FILE = "run.json"


class Record:
    """What is known of a run; written when it begins and when it ends, not at each step."""

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder, self.facts = folder, dict(facts)

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Return the record in a folder. Raises OSError or ValueError where there is none."""
        facts = json.loads((folder / FILE).read_text("utf-8"))
        if not isinstance(facts, dict):
            raise ValueError(f"{folder / FILE} is no record of a run")
        return cls(folder, facts)

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Write that the run is under way; one that goes on keeps when it was started first."""
        again = "started" in self.facts
        beginning = {
            "command": shlex.join(["nnhooks", *sys.argv[1:]]),
            "started": self.facts["started"] if again else now(),
            "resumed": [*self.facts["resumed"], now()] if again else [],
            "ended": None,
            "outcome": "running",
            "reason": "",
            "exit_code": None,
        }
        self.facts = {**beginning, **self.facts, **facts, **beginning}
        self._write()

    def add(self, **facts: Any) -> None:
        """Write down what else is known by now."""
        self.facts |= facts
        self._write()

    def end(self, trainer: Trainer, outcome: str, reason: str, exit_code: int) -> None:
        """Write how the run ended, and what it had measured and found by then."""
        levels = Counter(finding.level for finding in trainer.findings)
        self.facts |= {
            "ended": now(),
            "outcome": outcome,
            "reason": reason,
            "exit_code": exit_code,
            "epoch": trainer.epoch,
            "step": trainer.step,
            "metrics": {name: float(value) for name, value in trainer.metrics.items()},
            "findings": {level: levels[level] for level in get_args(Level)},
        }
        self._write()

    def _write(self) -> None:
        write(self.folder / FILE, json.dumps(finite(self.facts), indent=2) + "\n")


def finite(value: Any) -> Any:
    """Return the value with numbers that JSON cannot spell (NaN, inf) as text."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return json.dumps(value)  # "NaN", "Infinity" or "-Infinity", as in metrics.jsonl
    return value


def now() -> str:
    """Return the time in UTC; runs are told apart and sorted by it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
