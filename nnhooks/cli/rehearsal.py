"""A dry run: everything is built, one step goes through every hook, nothing is kept."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from nnhooks.build import Built, build
from nnhooks.cli.base import Failure
from nnhooks.hookspecs import hookimpl
from nnhooks.recipe import Recipe, RecipeError
from nnhooks.run.failing import told
from nnhooks.trainer import Trainer


class OneStep:
    """Stops after the first step."""

    @hookimpl
    def on_step_end(self, trainer: Trainer) -> None:
        trainer.stop("a dry run takes one step")


def rehearse(recipe: Recipe, out: Path) -> str:
    """Take one step in a folder that is thrown away; return what a real run would be like."""
    with TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        built = build(recipe, folder=Path(folder))
        built.trainer.plugins.register(OneStep(), "one_step")
        try:
            built.trainer.fit(built.epochs)
        except RecipeError:
            raise
        except Exception as error:
            raise Failure(told(error, built.trainer)) from error
    return described(built, out)


def described(built: Built, out: Path) -> str:
    """Return what was built, and what training it would mean."""
    trainer, recipe = built.trainer, built.recipe
    parameters = list(trainer.model.parameters())
    numbers = sum(parameter.numel() for parameter in parameters)
    kind = type(trainer.model).__name__
    names = [name for name in trainer.plugins.by_name() if name != "one_step"]
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in trainer.metrics.items())
    lines = {
        "model": f"{kind}, {numbers:,} numbers in {len(parameters)} tensors",
        "optimizer": type(trainer.optimizer).__name__,
        "plugins": ", ".join(names),
        "would run": f"{built.epochs} epochs, into {out / recipe.name}",
        "measured": metrics or "nothing",
    }
    title = f"dry run of {recipe.shown}: one step went through every hook; nothing was kept"
    return "\n".join([title, *(f"{name:10} {line}" for name, line in lines.items())])
