"""The metrics of a run as a table, one row an epoch.

In plain PyTorch:

    for epoch in range(1, epochs + 1):
        ...
        with open("metrics.csv", "a") as file:
            csv.writer(file).writerow([epoch, step, mean_loss])
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nnhooks import Trainer, hookimpl

Row = Mapping[str, Any]


class CsvLog:
    """Writes a row with all metrics of each epoch; a name that is new adds a column.

    `path` starts from the run's folder, so that no run writes over another's.
    What was not logged is empty; `nan` and `inf` are written as pandas reads them. A resumed run
    cuts the table to what its checkpoint knew, and goes on there.
    """

    def __init__(self, path: str = "metrics.csv") -> None:
        self.path = path
        self.columns = ["epoch", "step"]
        self.rows = 0

    @hookimpl
    def on_fit_start(self, trainer: Trainer) -> None:
        self.file = trainer.folder / self.path
        if trainer.is_main:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.rewrite(self.read()[: self.rows])

    @hookimpl
    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: Mapping[str, float]) -> None:
        if not trainer.is_main:
            return
        values = {name: float(value) for name, value in metrics.items()}
        row = {**values, "epoch": epoch, "step": trainer.step}
        if new := [name for name in row if name not in self.columns]:
            self.columns += new
            self.rewrite([*self.read(), row])
        else:
            self.append(row)

    def read(self) -> list[Row]:
        """Return the rows written so far."""
        if not self.file.exists():
            return []
        with self.file.open(newline="") as file:
            return list(csv.DictReader(file))

    def rewrite(self, rows: list[Row]) -> None:
        """Write the whole table anew; the old one stays in place until the new one is whole."""
        part = self.file.with_name(f"{self.file.name}.part")
        self.write(part, "w", [{name: name for name in self.columns}, *rows])
        part.replace(self.file)
        self.rows = len(rows)

    def append(self, row: Row) -> None:
        """Add one row at the end."""
        self.write(self.file, "a", [row])
        self.rows += 1

    def write(self, path: Path, mode: str, rows: Iterable[Row]) -> None:
        """Write rows in the order of the columns, and wait until they are on the disk."""
        with path.open(mode, newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore", lineterminator="\n")
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())

    def state_dict(self) -> dict[str, Any]:
        return {"columns": self.columns, "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.columns, self.rows = list(state["columns"]), state["rows"]
