"""The last words of a run: what went wrong, how it ended, where it is kept."""

from __future__ import annotations

from collections.abc import Mapping

import click

from nnhooks.build import Built
from nnhooks.recipe import RecipeError, render
from nnhooks.run.failing import told
from nnhooks.run.record import Record
from nnhooks.run.running import Ending


def tell(built: Built, ending: Ending) -> None:
    """Print the error that ended a run, if one did."""
    if isinstance(ending.error, RecipeError):
        click.echo(render(ending.error.problems, ending.error.recipe), err=True)
    elif ending.outcome == "failed" and ending.error:
        click.echo(f"error: {told(ending.error, built.trainer)}", err=True)


def verdict(name: str, built: Built, record: Record, ending: Ending, quiet: bool) -> str:
    """Return how a run ended, what was found and where it is kept; in one line if `quiet`."""
    trainer = built.trainer
    reason = f" ({ending.reason})" if ending.reason and ending.outcome != "failed" else ""
    at = f"epoch {trainer.epoch} of {built.epochs}, step {trainer.step}"
    line = "; ".join([f"{ending.outcome}: {at}{reason}", *counted(record.facts["findings"])])
    if quiet:
        return f"{line}; {record.folder}"
    told_already = "console" in trainer.plugins.by_name()
    lines = [*([] if told_already else [line]), f"run folder: {record.folder}"]
    if ending.outcome == "interrupted" and "checkpoint" in trainer.plugins.by_name():
        lines.append(f"to go on: nnhooks run {name} --resume")
    return "\n".join(lines)


def counted(findings: Mapping[str, int]) -> list[str]:
    """Return how many errors and warnings there are, in words; nothing where there are none."""
    found = [(findings[level], level) for level in ("error", "warning") if findings[level]]
    return [f"{count} {level}{'s' if count > 1 else ''}" for count, level in found]
