"""`nnhooks predict`: what a model answers, and the parameters it answers from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from nnhooks.cli.base import Command
from nnhooks.recipe import Along, Recipe, find_recipe, read
from nnhooks.run.record import FILE, Record

if TYPE_CHECKING:
    from nnhooks.build import Built


@click.command(cls=Command, example="nnhooks predict linear")
@click.argument("recipe")
@click.argument("overrides", nargs=-1, metavar="[KEY.PATH=VALUE]...")
def predict(recipe: str, overrides: tuple[str, ...]) -> None:
    """Print what a model answers to its training data, in order, and its parameters.

    RECIPE gives the untrained model; the folder of a run gives the trained one, from its newest
    checkpoint.
    """
    along = Along(first=("device",))
    file, run = find_recipe(recipe), Path(recipe)
    order = read(file, overrides, along=along)
    if order.root.get("data", "shuffle"):  # the first answer is to the first row
        order = read(file, (*overrides, "data.shuffle=false"), along=along)
    with redirect_stdout(sys.stderr):
        built = trained(order, run) if (run / FILE).is_file() else untrained(order)
        lines = list(answers(built))
    click.echo("\n".join(lines))


def untrained(order: Recipe) -> Built:
    """Build what a recipe describes, where nothing is kept."""
    from nnhooks.build import build

    with TemporaryDirectory() as folder:
        return build(order, folder=Path(folder))


def trained(order: Recipe, run: Path) -> Built:
    """Build a run again, with the parameters of its newest checkpoint."""
    from nnhooks.build import build
    from nnhooks.run.resuming import resume

    built = build(order, folder=run)
    resume(built, Record.read(run))
    return built


def answers(built: Built) -> Iterator[str]:
    """Yield the outputs and each parameter as PyTorch prints them."""
    from nnhooks import predictions

    trainer = built.trainer
    outputs = [output for output, _ in predictions(trainer.model, trainer.batches)]
    yield "output"
    for output in joined(outputs):
        yield str(output)
    for name, parameter in trainer.model.named_parameters():
        yield name
        yield str(parameter)


def joined(outputs: list[Any]) -> list[Any]:
    """Return the outputs of all batches as one tensor, where they fit together."""
    import torch

    if all(isinstance(output, torch.Tensor) and output.dim() for output in outputs):
        return [torch.cat(outputs)]
    return outputs
