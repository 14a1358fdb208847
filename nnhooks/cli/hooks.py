"""`nnhooks hooks`: the picture of a run, one hook of it, and who listens when."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from nnhooks.cli.base import Command, Missing


@click.command(cls=Command, example="nnhooks hooks after_backward")
@click.argument("name", required=False)
@click.option("--recipe", metavar="RECIPE", help="Show which plugins are called, in which order.")
def hooks(name: str | None, recipe: str | None) -> None:
    """Print the picture of a run, or explain the hook called NAME."""
    from nnhooks.hookspecs import HOOKS
    from nnhooks.plugins import did_you_mean

    if name and name not in HOOKS:
        raise Missing(f"there is no hook `{name}`{did_you_mean(name, HOOKS)}")
    listeners = called(recipe) if recipe else None
    if name:
        click.echo(explained(name))
    if name and listeners is not None:
        click.echo(f"\nCalled under {recipe}: {', '.join(listeners[name]) or 'nobody'}")
    elif not name:
        click.echo(picture() if listeners is None else answered(picture(), listeners))


def picture() -> str:
    """Return the picture of a run, as it stands at the top of `hookspecs.py`."""
    from nnhooks import hookspecs

    return inspect.cleandoc(hookspecs.__doc__ or "")


def explained(hook: str) -> str:
    """Return a hook's signature, as an implementation may write it, and its documentation."""
    from nnhooks.hookspecs import HookSpecs

    spec = getattr(HookSpecs, hook)
    signature = str(inspect.signature(spec)).replace("'", "")
    return f"@hookimpl\ndef {hook}{signature}:\n\n    {inspect.getdoc(spec)}".replace(
        "\n\n\n", "\n\n"
    )


def called(recipe: str) -> dict[str, list[str]]:
    """Build what a recipe describes and return, for each hook, who is called, in that order."""
    from nnhooks.build import build
    from nnhooks.hookspecs import HOOKS
    from nnhooks.recipe import find_recipe
    from nnhooks.run.order import ordered

    with TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        plugins = build(ordered(find_recipe(recipe)), folder=Path(folder)).trainer.plugins
    return {
        name: [one.plugin_name for one in reversed(getattr(plugins.hook, name).get_hookimpls())]
        for name in HOOKS
    }


def answered(text: str, listeners: Mapping[str, list[str]]) -> str:
    """Return the picture with the names of those who are called in place of its remarks."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        word = line.strip().partition(" ")[0]
        if word in listeners and line.startswith(" "):
            start = line[: line.index(word)] + word
            lines[number] = f"{start:<39} {', '.join(listeners[word])}".rstrip()
    return "\n".join(lines)
