"""Every shipped recipe runs as it stands, and what it says is true."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from nnhooks import Trainer, hookimpl, predictions
from nnhooks.build import Built, build
from nnhooks.recipe import read

RECIPES = Path(__file__).parents[1] / "recipes"
NAMES = sorted(file.stem for file in RECIPES.glob("*.yaml"))

Make = Callable[..., Built]


class Losses:
    """Keeps the loss of every batch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    @hookimpl
    def after_loss(self, loss: torch.Tensor) -> None:
        self.seen.append(loss.item())


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Build a recipe by name, with overrides as on the command line."""

    def make(name: str, *overrides: str, plugins: tuple[object, ...] = ()) -> Built:
        recipe = read(RECIPES / f"{name}.yaml", overrides)
        return build(recipe, folder=tmp_path, device="cpu", extra_plugins=plugins)

    return make


@pytest.fixture
def train(make: Make) -> Callable[..., Trainer]:
    """Build a recipe and train it to its end."""

    def train(name: str, *overrides: str, plugins: tuple[object, ...] = ()) -> Trainer:
        built = make(name, *overrides, plugins=plugins)
        built.trainer.fit(built.epochs)
        return built.trainer

    return train


def share_correct(trainer: Trainer, batches) -> float:
    hits = [output.argmax(1) == target for output, target in predictions(trainer.model, batches)]
    return torch.cat(hits).float().mean().item()


# The shelf


def test_the_table_of_recipes_lists_every_recipe_there_is():
    table = (RECIPES / "README.md").read_text()

    listed = re.findall(r"^\| \[(\w+)\]\((\w+)\.yaml\) ", table, re.MULTILINE)

    assert len(listed) == 10
    assert sorted(listed) == [(name, name) for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_opens_with_what_it_teaches(name):
    first = (RECIPES / f"{name}.yaml").read_text().splitlines()[0]

    assert re.match(r"# \w.{20,}", first)


def test_each_file_of_data_has_its_source_and_licence_written_down():
    notes = (RECIPES / "data" / "README.md").read_text()
    files = {file.name for file in (RECIPES / "data").iterdir()} - {"README.md"}

    sections = {part.split("\n")[0]: part for part in notes.split("\n## ")[1:]}

    assert set(sections) == files
    assert all("- Licence: " in part and "- Taken from: " in part for part in sections.values())


def test_the_recipes_are_light_enough_for_the_wheel():
    files = subprocess.run(
        ["git", "ls-files", "recipes"], cwd=RECIPES.parent, capture_output=True, text=True
    ).stdout.split()
    assert sum((RECIPES.parent / file).stat().st_size for file in files) < 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_as_it_stands(name, train):
    trainer = train(name, "trainer.epochs=1")

    assert trainer.epoch == 1
