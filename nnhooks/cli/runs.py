"""`nnhooks runs`: what has been run, and how it ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from nnhooks.cli.base import Group
from nnhooks.cli.tables import beside, table
from nnhooks.run.past import all_runs, find, is_held
from nnhooks.run.record import Record

OUT = click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default="runs",
    show_default=True,
    help="Where the runs are.",
)


@click.group(cls=Group, invoke_without_command=True, example="nnhooks runs")
@OUT
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def runs(ctx: click.Context, out: Path, as_json: bool) -> None:
    """List past runs, the newest last, or show one."""
    if ctx.invoked_subcommand:
        return
    records = all_runs(out)
    if as_json:
        click.echo(json.dumps([known(record) for record in records], indent=2))
    elif not records:
        click.echo(f"no runs in {out}: `nnhooks run RECIPE` makes one", err=True)
    else:
        rows = [row(known(record)) for record in records]
        click.echo(table(["recipe", "run", "outcome", "epochs", "last measured"], rows))


@runs.command(example="nnhooks runs show 2026-11-24_10-22-08")
@click.argument("run")
@OUT
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(run: str, out: Path, as_json: bool) -> None:
    """Show one run.

    RUN is its folder, its name, or the beginning of its name.
    """
    facts = known(find(out, run))
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        if text := written(value):
            click.echo(beside(f"{name.replace('_', ' '):10} ", text))


def known(record: Record) -> dict[str, Any]:
    """Return the facts of a run; one that says it is running, but is not, was killed."""
    outcome = record.facts.get("outcome")
    killed = outcome == "running" and not is_held(record.folder)
    return {
        "folder": str(record.folder),
        **record.facts,
        "outcome": "killed" if killed else outcome,
    }


def row(facts: dict[str, Any]) -> list[str]:
    """Return the cells of one run."""
    folder = Path(facts["folder"])
    epochs = str(facts.get("epoch", ""))
    return [
        folder.parent.name,
        folder.name,
        facts["outcome"],
        epochs,
        written(facts.get("metrics") or {}),
    ]


def written(value: Any) -> str:
    """Return a fact as a reader wants it: no braces, nothing for nothing."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {written(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(written, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
