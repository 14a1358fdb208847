"""`nnhooks plugins`: what is installed, and what each can do, without importing any of it."""

from __future__ import annotations

import json

import click

from nnhooks.cli.base import Command, Missing
from nnhooks.cli.reading import Described
from nnhooks.cli.tables import table


@click.command(cls=Command, example="nnhooks plugins early_stopping")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def plugins(name: str | None, as_json: bool) -> None:
    """List the installed plugins, or explain the one called NAME.

    Nothing is imported: what is printed was read from their source.
    """
    known = described()
    if name is not None and name not in known:
        from nnhooks.plugins import did_you_mean

        raise Missing(f"no installed plugin is called `{name}`{did_you_mean(name, known)}")
    chosen = [known[name]] if name else list(known.values())
    if as_json:
        click.echo(json.dumps([fields(plugin) for plugin in chosen], indent=2))
    elif name:
        click.echo(explained(known[name]))
    else:
        rows = [[p.name, f"{p.distribution} {p.version}", status(p)] for p in chosen]
        click.echo(table(["plugin", "from", "what it does"], rows))


def described() -> dict[str, Described]:
    """Return the installed plugins by name, in alphabetical order."""
    from nnhooks.plugins import catalogue

    return {name: Described(entry) for name, entry in sorted(catalogue().items())}


def status(plugin: Described) -> str:
    """Return the first line of a plugin's documentation, or what is wrong with it."""
    return f"broken: {plugin.problem}" if plugin.problem else plugin.doc.partition("\n")[0]


def explained(plugin: Described) -> str:
    """Return all there is to say about one plugin."""
    if plugin.problem:
        return f"{plugin.name} is broken: {plugin.problem}"
    options = [f"    {option}" for option in plugin.options] or ["    none"]
    return "\n".join(
        [
            f"{plugin.name}, from {plugin.distribution} {plugin.version}",
            f"{plugin.file}:{plugin.line}",
            "",
            plugin.doc,
            "",
            "Options:",
            *options,
            "Hooks:",
            f"    {', '.join(plugin.hooks)}",
            "In a recipe:",
            "    plugins:",
            f"      - {plugin.name}{': {...}' if plugin.options else ''}",
        ]
    )


def fields(plugin: Described) -> dict[str, object]:
    """Return what is known of a plugin as plain data; the keys stay the same between versions."""
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "class": f"{plugin.place}:{plugin.attribute}",
        "doc": plugin.doc.partition("\n")[0],
        "hooks": plugin.hooks,
        "options": [vars(option) for option in plugin.options],
        "problem": plugin.problem or None,
    }
