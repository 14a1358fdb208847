"""`nnhooks new`: a plugin or a recipe to start from, which works as it stands."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from nnhooks.cli.base import Failure, Group
from nnhooks.run.files import write

PLUGIN = {  # file: the template it is made from
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "$module.py": "plugin.py",
    "recipe.yaml": "plugin_recipe.yaml",
    "tests/test_$name.py": "test_plugin.py",
}
PLUGIN_HERE = {"$name.py": "plugin.py"}
RECIPE = {"$name.yaml": "recipe.yaml", "$module.py": "model.py"}


@click.group(cls=Group, example="nnhooks new plugin sparsity")
def new() -> None:
    """Start a plugin or a recipe from a template; nothing is ever overwritten."""


@new.command(example="nnhooks new plugin sparsity --here")
@click.argument("name")
@click.option("--here", is_flag=True, help="Write one file, to be named from a recipe beside it.")
def plugin(name: str, here: bool) -> None:
    """Start the plugin NAME.

    It is a folder nnhooks-NAME that can be installed, tested and run.
    """
    words = named(name, module=f"{identifier(name)}" if here else f"nnhooks_{identifier(name)}")
    if here:
        create(Path(), PLUGIN_HERE, words)
        click.echo(
            "In a recipe beside it:\n\n    plugins:\n      - {name}.py:{cls}".format(**words)
        )
        return
    folder = Path("nnhooks-{dashed}".format(**words))
    create(folder, PLUGIN, words)
    click.echo(f"Next:\n\n    cd {folder}\n    nnhooks run recipe.yaml\n    pytest")


@new.command(example="nnhooks new recipe xor")
@click.argument("name")
def recipe(name: str) -> None:
    """Start the recipe NAME: NAME.yaml, and the model in NAME.py."""
    words = named(name, module=identifier(name))
    create(Path(), RECIPE, words)
    click.echo("Next:\n\n    nnhooks run {name}.yaml".format(**words))


def identifier(name: str) -> str:
    """Return the name as Python can spell it, or refuse it."""
    word = name.replace("-", "_").lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", word) or keyword.iskeyword(word):
        message = "a letter first, then letters, digits, `_` or `-`, and no word of Python's own"
        raise Failure(f"`{name}` cannot be a name: {message}", exit_code=2)
    return word


def named(name: str, module: str) -> dict[str, str]:
    """Return the words that the templates leave open."""
    word = identifier(name)
    title = word.replace("_", " ").capitalize()
    return {
        "name": word,
        "module": module,
        "dashed": word.replace("_", "-"),
        "title": title,
        "cls": "".join(part.capitalize() for part in word.split("_")),
    }


def create(folder: Path, templates: Mapping[str, str], words: Mapping[str, str]) -> None:
    """Write the files, all or none: one that is there already stops everything."""
    paths = {
        folder / Template(path).substitute(words): source for path, source in templates.items()
    }
    for path in paths:
        if path.exists():
            raise Failure(f"{path} is there already; nothing was written")
    for path, source in paths.items():
        template = files("nnhooks.cli").joinpath("templates", f"{source}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, Template(template.read_text("utf-8")).substitute(words))
        click.echo(f"wrote {path}", err=True)
