"""The README: its picture, its plugin and its tables are held against the code."""

import re
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from nnhooks import Trainer, hookspecs
from nnhooks.cli import main

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language=""):
    """The fenced blocks of the README in one language, or in none."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_the_picture_is_the_one_at_the_top_of_the_specs():
    (picture,) = (block for block in blocks() if block.startswith("on_setup"))
    specs = [line.split() for line in hookspecs.__doc__.splitlines()]

    assert all(line.split() in specs for line in picture.splitlines())


def test_the_plugin_of_ones_own_is_15_lines_and_works(make_trainer):
    code = next(block for block in blocks("python") if "GradientNoise" in block)
    names = {}
    exec(code, names)

    noisy, plain = make_trainer(names["GradientNoise"](scale=0.5)), make_trainer()
    noisy.fit(epochs=1)
    plain.fit(epochs=1)

    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 15
    assert noisy.model.weight.tolist() != plain.model.weight.tolist()


def test_the_trainer_in_python_works():
    names = {}
    exec(next(block for block in blocks("python") if "fit(" in block), names)

    assert isinstance(names["trainer"], Trainer)
    assert names["trainer"].epoch == 10


def test_the_table_of_plugins_names_them_all():
    told = re.findall(r"`(\w+)`", "".join(re.findall(r"^(\| `.*?) \|", README, re.MULTILINE)))

    assert set(told) == entry_points(group="nnhooks.plugins").names


def test_the_recipe_reads_without_a_mistake(tmp_path):
    from nnhooks.build import check
    from nnhooks.recipe import load

    (tmp_path / "iris.yaml").write_text(next(b for b in blocks("yaml") if b.startswith("data")))

    assert check(load(tmp_path / "iris.yaml")) == []


@pytest.mark.parametrize("command", re.findall(r"`nnhooks (\w+)", README))
def test_every_command_it_names_exists(command):
    assert command in main.list_commands(None)


def test_the_two_commands_stand_alone_on_a_line():
    commands = [block for block in blocks("bash") if block.startswith("python3 -m venv")]

    assert [textwrap.dedent(command).count("\n") for command in commands] == [1, 1]
