"""From a recipe to a Trainer: the one place where names become objects."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nnhooks.data import Batch, DataError
from nnhooks.objects.datasets import batches_of
from nnhooks.objects.filling import filled_recipe
from nnhooks.objects.groups import problems_of, with_groups
from nnhooks.objects.making import Maker, problem_of
from nnhooks.objects.planning import Plan, planned
from nnhooks.plugins import PluginError
from nnhooks.plugins import check as check_plugin
from nnhooks.recipe import Problem, Recipe, RecipeError, find_recipe
from nnhooks.recipe.problems import in_file_order
from nnhooks.recipe.showing import as_yaml
from nnhooks.trainer import Trainer

__all__ = ["Built", "build", "check", "find_recipe", "seed_everything", "show"]


@dataclass(frozen=True)
class Built:
    """What a recipe asked for, ready to run: `built.trainer.fit(built.epochs)`.

    `model` is as it was built, before plugins dressed it. `full` is the recipe with everything
    filled in; it runs beside copies of its local files. `data_files` are the files that its
    arguments name.
    """

    recipe: Recipe
    trainer: Trainer
    model: nn.Module
    epochs: int
    data: Any
    full: str
    data_files: list[Path]


def check(recipe: Recipe) -> list[Problem]:
    """Return all problems of a recipe: names looked up, settings held against signatures.

    Local files are run, since they say what is in them; nothing is constructed.
    """
    return in_file_order(planned(recipe).problems)


def show(recipe: Recipe, only: str | None = None) -> str:
    """Return the recipe as YAML with everything filled in, and where each value comes from.

    Raises RecipeError if it has mistakes.
    """
    return as_yaml(filled_recipe(sound(recipe)), only)


def build(recipe: Recipe, *, folder: Path = Path()) -> Built:
    """Return the trainer that a recipe asks for; `folder` is where the run writes.

    Raises RecipeError with all that is wrong, or with the first thing that refuses to be made.
    """
    return Builder(sound(recipe), folder).built()


def sound(recipe: Recipe) -> Plan:
    """Return the plan of a recipe, or raise RecipeError with its problems."""
    plan = planned(recipe)
    if plan.problems:
        raise RecipeError(plan.problems, recipe.shown)
    return plan


def seed_everything(seed: int) -> None:
    """Seed every generator that a model or its data may draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # numpy takes no more
    torch.manual_seed(seed)


class Builder:
    """Builds a plan part by part, in the order in which the parts need each other."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.maker = Maker(plan.recipe.shown, {"run.dir": lambda: str(folder)})

    def built(self) -> Built:
        """Make everything: seeds first, then data, model, loss, plugins and the trainer."""
        plan, maker = self.plan, self.maker
        seed_everything(plan.recipe.seed)
        data, train, validation = self.data()
        epochs = maker.value(plan.calls["trainer"].own["epochs"])
        maker.answers["run.steps"] = lambda: epochs * self.steps(train)

        model = self.model()
        maker.answers["model"] = lambda: model
        trainer = maker.make(
            plan.calls["trainer"],
            model=model,
            loss=maker.make(plan.calls["loss"]),
            optimizer=self.optimizer(model),
            batches=train,
            validation=validation,
            plugins=self.plugins(),
            folder=self.folder,
        )
        copies = {path: name for name, path in plan.recipe.local_files.items()}
        full = as_yaml(filled_recipe(plan, copies))
        return Built(plan.recipe, trainer, model, epochs, data, full, plan.data_files)

    def data(self) -> tuple[Any, Iterable[Batch], Iterable[Batch] | None]:
        """Return the data object and the batches it gives."""
        call, maker = self.plan.calls["data"], self.maker
        data = maker.make(call)
        maker.answers["data"] = lambda: data
        settings = {name: maker.value(value) for name, value in call.own.items()}
        with maker.blaming(call):
            train, validation = batches_of(data, settings, self.plan.recipe.seed)
        return data, train, validation

    def steps(self, train: Iterable[Batch]) -> int:
        """Return how many steps an epoch takes."""
        call = self.plan.calls["trainer"]
        said = call.arguments.get("accumulate")
        setting = call.signature.settings.get("accumulate")
        window = self.maker.value(said) if said else setting.default if setting else 1
        if window == "epoch":
            return 1
        if not isinstance(train, Sized):
            raise DataError("the data does not say how many batches it has: it has no `__len__`")
        return ceil(len(train) / window)

    def model(self) -> nn.Module:
        """Return the model, which is a Module and has something to train."""
        call = self.plan.calls["model"]
        model = self.maker.make(call)
        if not isinstance(model, nn.Module):
            message = f"{call.title} returned {type(model).__name__}, not a Module"
        elif not any(True for _ in model.parameters()):
            message = f"{call.title} has no parameters, so there is nothing to train"
        elif not any(parameter.requires_grad for parameter in model.parameters()):
            message = f"every parameter of {call.title} is frozen, so there is nothing to train"
        else:
            return model
        raise self.maker.error(Problem("refused", message, call.place, "model"))

    def optimizer(self, model: nn.Module) -> Any:
        """Return what makes the optimizer once the model is dressed."""
        groups, make = self.plan.groups, self.maker.make(self.plan.calls["optimizer"])
        if not groups:
            return make
        if problems := problems_of(groups, model):
            raise self.maker.error(*problems)
        filled = [(group, self.maker.value(group.arguments)) for group in groups]
        return with_groups(make, filled, [name for name, _ in model.named_parameters()])

    def plugins(self) -> dict[str, object]:
        """Return the plugins by name; each one would be accepted at the trainer's door."""
        made: dict[str, object] = {}
        for name, call in self.plan.plugins.items():
            made[name] = self.maker.make(call)
            self.maker.plugins[id(made[name])] = call
            try:
                check_plugin(made[name], name)
            except PluginError as error:
                problem = problem_of(error, name, call.place, call.path)
                raise self.maker.error(problem) from error
        return made
