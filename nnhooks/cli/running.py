"""`nnhooks run`: train what a recipe describes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

import nnhooks
from nnhooks.cli.base import Command, debugging
from nnhooks.recipe import find_recipe
from nnhooks.run.order import Order
from nnhooks.run.past import create, find, held, newest
from nnhooks.run.record import FILE, Record
from nnhooks.run.signals import Signals

if TYPE_CHECKING:
    from nnhooks.build import Built
    from nnhooks.recipe import Recipe

NEWEST = ""  # what `--resume` says alone


@click.command(cls=Command, example="nnhooks run iris trainer.epochs=20 optimizer.lr=0.01")
@click.argument("recipe", required=False)
@click.argument("overrides", nargs=-1, metavar="[KEY.PATH=VALUE]...")
@click.option("--unset", multiple=True, metavar="KEY", help="Leave a setting out.")
@click.option("--without", multiple=True, metavar="PLUGIN", help="Leave a plugin out.")
@click.option("--seed", type=int, help="Short for seed=N.")
@click.option("--device", metavar="DEVICE", help="Where to train: cpu, cuda, cuda:1, mps.")
@click.option("--dry-run", is_flag=True, help="Build everything, take one step, save nothing.")
@click.option("--strict", is_flag=True, help="Stop at the first error that a check finds.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=NEWEST,
    metavar="[RUN]",
    help="Go on with the newest run of the recipe, or with RUN.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="runs",
    show_default=True,
    help="Where run folders are made.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print one line at the end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per event.")
@click.pass_context
def run(
    ctx: click.Context,
    /,
    recipe: str | None,
    overrides: tuple[str, ...],
    seed: int | None,
    device: str | None,
    dry_run: bool,
    resume: str | None,
    **rest: object,
) -> None:
    """Train what RECIPE describes: a file, the name of one that comes along, or a run's folder.

    Settings of the recipe are changed by KEY.PATH=VALUE, such as optimizer.lr=0.01.
    """
    words, resume = unswallowed([word for word in (recipe, *overrides) if word], resume)
    if not words:
        raise click.UsageError("Missing argument 'RECIPE'.")
    changes = (*words[1:], *shorthand(seed, device))
    order = Order(words[0], changes, **rest)  # type: ignore[arg-type]
    if dry_run:
        from nnhooks.cli.rehearsal import rehearse

        click.echo(rehearse(order.recipe(find_recipe(order.name)), order.out))
    elif os.environ.get("RANK", "0") != "0":
        assist(order, resume)
    elif resume is None:
        fresh(order, debugging(ctx))
    else:
        again(order, resume, debugging(ctx))


def unswallowed(words: list[str], resume: str | None) -> tuple[list[str], str | None]:
    """Give back the word that `--resume` took for the name of a run, where it is none."""
    if resume and "=" in resume:  # run iris --resume trainer.epochs=20
        return [*words, resume], NEWEST
    if resume and (not words or "=" in words[0]):  # run --resume iris
        return [resume, *words], NEWEST
    return words, resume


def shorthand(seed: int | None, device: str | None) -> Iterator[str]:
    """Yield the overrides that two options are short for."""
    if seed is not None:
        yield f"seed={seed}"
    if device is not None:
        yield f"plugins.device.name={device}"


def fresh(order: Order, debug: bool) -> None:
    """Run a recipe in a folder of its own."""
    recipe = order.recipe(find_recipe(order.name))
    with interruptible() as signals:
        announce(order, recipe)
        from nnhooks.run.keeping import changed
        from nnhooks.run.running import discard

        folder = create(order.out, recipe.name)
        with held(folder):
            try:
                built = build_for(order, recipe, folder)
            except BaseException:
                discard(folder)  # nothing was run
                raise
            if (Path(order.name) / FILE).is_file():
                noted(changed(Record.read(Path(order.name)), built))
            train(order, built, Record(folder, order.facts()), signals, debug)


def again(order: Order, name: str, debug: bool) -> None:
    """Go on with an earlier run in its own folder."""
    record, recipe = earlier(order, name)
    with interruptible() as signals, held(record.folder):
        announce(order, recipe)
        from nnhooks.run.keeping import changed
        from nnhooks.run.resuming import refuse_changes, resume

        built = build_for(order, recipe, record.folder)
        refuse_changes(built, record)
        noted([*changed(record, built), *resume(built, record)])
        if built.trainer.epoch >= built.epochs and not built.trainer.batches_used:
            click.echo(f"nothing to do: all {built.epochs} epochs are done in {record.folder}")
            return
        record.facts |= order.after(record.facts).facts()
        train(order, built, record, signals, debug)


def earlier(order: Order, name: str) -> tuple[Record, Recipe]:
    """Return the run to go on with, and its recipe with what it was ordered with."""
    file = find_recipe(order.name)
    if (Path(order.name) / FILE).is_file():  # then its recipe has all that filled in already
        return Record.read(Path(order.name)), order.recipe(file)
    record = find(order.out, name) if name else newest(order.out, order.recipe(file).name)
    return record, order.after(record.facts).recipe(file)


def assist(order: Order, name: str | None) -> None:
    """Train as one of several processes, of which the first keeps the run and speaks."""
    from nnhooks.cli.telling import tell
    from nnhooks.run.resuming import resume
    from nnhooks.run.running import trained

    order = replace(order, quiet=True)
    with interruptible() as signals, TemporaryDirectory() as nowhere:
        if name is None:
            built = build_for(order, order.recipe(find_recipe(order.name)), Path(nowhere))
        else:
            record, recipe = earlier(order, name)
            built = build_for(order, recipe, record.folder)
            resume(built, record)
        ending = trained(built, signals, order.strict)
    tell(built, ending)
    if ending.exit_code:
        raise click.exceptions.Exit(ending.exit_code)


def build_for(order: Order, recipe: Recipe, folder: Path) -> Built:
    """Build the recipe; what it prints is kept out of a stream of events."""
    from nnhooks.build import build

    with redirect_stdout(sys.stderr) if order.as_json else nullcontext():
        return build(recipe, folder=folder)


def train(order: Order, built: Built, record: Record, signals: Signals, debug: bool) -> None:
    """Train, tell how it ended, and leave with the exit code that says so."""
    from nnhooks.cli.telling import tell, verdict
    from nnhooks.run.listeners import Events
    from nnhooks.run.running import execute

    events = Events(sys.stdout) if order.as_json else None
    if events:
        events.begin(built.recipe.shown, record.folder, built.epochs, built.recipe.seed)
    with redirect_stdout(sys.stderr) if events else nullcontext():
        listeners = {"events": events} if events else {}
        ending = execute(built, record, signals, strict=order.strict, listeners=listeners)
    tell(built, ending)
    if events:
        events.end(record.facts)
    else:
        click.echo(verdict(order.name, built, record, ending, order.quiet))
    if ending.error and ending.outcome == "failed" and debug:
        raise ending.error
    if ending.exit_code:
        raise click.exceptions.Exit(ending.exit_code)


def announce(order: Order, recipe: Recipe) -> None:
    """Say what is going to run before torch is imported, which takes a while."""
    if not (order.quiet or order.as_json):
        click.echo(f"nnhooks {nnhooks.__version__}  {recipe.shown}", err=True)


def noted(notes: Iterable[str]) -> None:
    """Print what should be known before the run goes on."""
    for note in notes:
        click.echo(f"note: {note}", err=True)


@contextmanager
def interruptible() -> Iterator[Signals]:
    """Let signals end the run in good order; an interrupt outside a step ends the command."""
    with Signals() as signals:
        try:
            yield signals
        except KeyboardInterrupt:
            click.echo("interrupted before the first step; nothing was run", err=True)
            raise click.exceptions.Exit(128 + (signals.received or 2)) from None
