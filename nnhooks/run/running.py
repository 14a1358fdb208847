"""Running a recipe: built, kept, trained, and its ending told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Any

import torch

from nnhooks.build import Built
from nnhooks.findings import verdict
from nnhooks.plugins import catalogue
from nnhooks.recipe import RecipeError
from nnhooks.run.facts import git, versions
from nnhooks.run.failing import summary
from nnhooks.run.keeping import keep
from nnhooks.run.listeners import Findings, Strict
from nnhooks.run.record import Record
from nnhooks.run.signals import Signals

if TYPE_CHECKING:
    from nnhooks.trainer import Trainer


@dataclass(frozen=True)
class Ending:
    """How a run ended: its outcome, why, and the exit code that says so."""

    outcome: str
    reason: str
    exit_code: int
    error: BaseException | None = None


def execute(
    built: Built,
    record: Record,
    signals: Signals,
    *,
    strict: bool = False,
    listeners: Mapping[str, object] | None = None,
) -> Ending:
    """Train what was built and keep the record of it; `strict` makes findings fail the run.

    Errors of the training are in the ending, not raised.
    """
    trainer = built.trainer
    known = facts(built)
    heard = {**(listeners or {}), "findings": Findings(record.folder / "findings.jsonl")}
    for name, listener in {**heard, **({"strict": Strict()} if strict else {})}.items():
        trainer.plugins.register(listener, name)
    record.begin(known)
    record.add(data=keep(record.folder, built))
    signals.ask = trainer.interrupt
    ending = trained(built, signals, strict)
    signals.ask = None
    record.end(trainer, ending.outcome, ending.reason, ending.exit_code)
    return ending


def trained(built: Built, signals: Signals, strict: bool) -> Ending:
    """Train, and return how it ended."""
    trainer = built.trainer
    try:
        if not (strict and verdict(trainer.findings) == "error"):  # found while it was built
            trainer.fit(built.epochs)
    except KeyboardInterrupt as error:
        number = signals.received or SIGINT
        return Ending("interrupted", str(error) or number.name, 128 + number, error)
    except RecipeError as error:
        return Ending("failed", str(error), 3, error)
    except (Exception, SystemExit) as error:
        return Ending("failed", summary(error), 1, error)
    if strict and verdict(trainer.findings) == "error":
        first = next(finding for finding in trainer.findings if finding.level == "error")
        return Ending("stopped", f"--strict: {first.check}: {first.message}", 1)
    outcome = "stopped" if trainer.stop_reason else "completed"
    return Ending(outcome, trainer.stop_reason, 0)


def facts(built: Built) -> dict[str, Any]:
    """Return what a run's record says of its beginning."""
    recipe = built.recipe
    return {
        "recipe": recipe.name,
        "file": str(recipe.path),
        "seed": recipe.seed,
        "epochs": built.epochs,
        "device": device(built.trainer),
        "threads": torch.get_num_threads(),
        "versions": versions(["numpy", "pandas", "pluggy", "pyyaml", "pydantic"]),
        "plugins": plugins(built.trainer),
        "git": git(recipe.path.parent),
        "process": os.getpid(),
    }


def device(trainer: Trainer) -> str:
    """Return where the model's parameters are."""
    first = next(trainer.model.parameters(), None)
    return str(first.device) if first is not None else "cpu"


def plugins(trainer: Trainer) -> dict[str, str]:
    """Return the plugins of a run with the distribution and version each comes from."""
    origin = {
        entry.module.partition(".")[0]: f"{entry.dist.name} {entry.dist.version}"
        for entry in catalogue().values()
        if entry.dist
    }
    tops = {n: type(p).__module__.partition(".")[0] for n, p in trainer.plugins.by_name().items()}
    return {name: origin.get(top, "a file of the recipe") for name, top in tops.items()}


def discard(folder: Path) -> None:
    """Remove the folder of a run that never began, and those around it that are now empty."""
    import shutil

    shutil.rmtree(folder)
    for parent in (folder.parent, folder.parent.parent):
        try:
            parent.rmdir()
        except OSError:
            return
