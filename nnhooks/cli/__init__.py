"""The command line: each command is imported when it is called, so help comes at once."""

from __future__ import annotations

import click

import nnhooks
from nnhooks.cli.base import Group, Lazy

COMMANDS = {  # name: (where it is, its line in the help)
    "run": ("running:run", "Train: run a recipe, or repeat a run."),
    "check": ("recipes:check", "Find the mistakes in recipes without training."),
    "show": ("recipes:show", "Print a recipe with everything filled in, and where it came from."),
    "predict": ("predict:predict", "Print what a model answers, and its parameters."),
    "plugins": ("plugins:plugins", "List the installed plugins, or explain one."),
    "hooks": ("hooks:hooks", "Print the picture of a run, or explain one hook."),
    "recipes": ("recipes:recipes", "List the recipes that come along, or copy one."),
    "new": ("new:new", "Start a plugin or a recipe from a template."),
    "runs": ("runs:runs", "List past runs, or show one."),
    "schema": ("recipes:schema", "Print the JSON Schema of recipes, for editors."),
    "doctor": ("doctor:doctor", "Describe this installation: the block for bug reports."),
    "completion": ("completion:completion", "Print the completion script of a shell."),
}


@click.group(
    cls=Group,
    example="nnhooks run softmax_linear",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(nnhooks.__version__, "-V", "--version", message="nnhooks %(version)s")
def main() -> None:
    """Train neural networks in PyTorch, see every parameter, trust every step."""


for name, (place, line) in COMMANDS.items():
    main.add_command(Lazy(name, f"nnhooks.cli.{place}", line))
