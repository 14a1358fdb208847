"""`nnhooks doctor`: what a bug report has to say about an installation."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import click

from nnhooks.cli.base import Command
from nnhooks.cli.tables import beside
from nnhooks.run.facts import system, versions

PACKAGES = ["numpy", "pandas", "pyarrow", "pluggy", "pyyaml", "pydantic", "click", "rich"]


@click.command(cls=Command, example="nnhooks doctor")
def doctor() -> None:
    """Describe this installation: the block for bug reports.

    Exit code 4 where something is broken.
    """
    for name, version in versions(PACKAGES).items():
        click.echo(f"{name:10} {version}")
    click.echo(f"{'system':10} {system()}")
    for line in devices():
        click.echo(f"{'device':10} {line}")
    problems = list(broken())
    for line in problems:
        click.echo(f"{'broken':10} {line}")
    if problems:
        raise click.exceptions.Exit(4)


def devices() -> Iterator[str]:
    """Yield a line for each device that torch can use."""
    import torch

    yield f"cpu, {torch.get_num_threads()} threads"
    for number in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(number).total_memory / 2**30
        yield f"cuda:{number}, {torch.cuda.get_device_name(number)}, {memory:.0f} GiB"
    if torch.backends.mps.is_available():
        yield "mps"


def broken() -> Iterator[str]:
    """Import every installed plugin; print those that work, yield a line for each that does not."""
    from nnhooks.plugins import catalogue

    plugins = catalogue()
    working = []
    for name, entry in sorted(plugins.items()):
        if problem := failure(entry):
            yield f"plugin {name} ({entry.value}): {problem}"
        else:
            working.append(name)
    click.echo(beside(f"{'plugins':10} ", ", ".join(working) or "none"))


def failure(entry: EntryPoint) -> str:
    """Return why a plugin cannot be imported; empty if it can."""
    try:
        entry.load()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
