"""Every shipped recipe runs as it stands, and what it says is true."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from torch import nn

from nnhooks import Trainer, predictions
from nnhooks.build import Built, build
from nnhooks.recipe import read

RECIPES = Path(__file__).parents[1] / "recipes"
NAMES = sorted(file.stem for file in RECIPES.glob("*.yaml"))

FOUNDING_LOSSES = "22.3552 22.1462 22.0547 22.0236 22.0117 22.0064 22.0039 22.0025 22.0017 22.0012"
LINEAR_ROWS = torch.tensor([[1.2, 2.1, 3.3, 4.5], [2.3, 3.4, 4.5, 5.1]])


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Built]:
    """A function that builds a recipe by name, with overrides as on the command line."""

    def made(name: str, *overrides: str) -> Built:
        return build(read(RECIPES / f"{name}.yaml", overrides), folder=tmp_path)

    return made


@pytest.fixture
def trained(made: Callable[..., Built]) -> Callable[..., Trainer]:
    """A function that trains a recipe to its end; `plugins` listen beside the recipe's own."""

    def trained(name: str, *overrides: str, plugins: Iterable[object] = ()) -> Trainer:
        built = made(name, *overrides)
        for plugin in plugins:
            built.trainer.plugins.register(plugin)
        built.trainer.fit(built.epochs)
        return built.trainer

    return trained


def correct(trainer: Trainer, batches: object) -> list[bool]:
    """Say of each row whether the model names its class."""
    answers = predictions(trainer.model, batches)
    return [hit for output, target in answers for hit in (output.argmax(1) == target).tolist()]


# The shelf


def test_the_table_in_the_readme_lists_every_recipe_there_is():
    table = (RECIPES / "README.md").read_text()

    listed = re.findall(r"^\| \[(\w+)\]\((\w+)\.yaml\) ", table, re.MULTILINE)

    assert len(listed) == 10
    assert sorted(listed) == [(name, name) for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_opens_with_what_it_teaches(name):
    first, *_ = (RECIPES / f"{name}.yaml").read_text().splitlines()

    assert re.match(r"# \w.{20,}", first)


def test_each_file_of_data_has_its_source_and_licence_written_down():
    files = {file.name for file in (RECIPES / "data").iterdir()} - {"README.md"}

    sections = (RECIPES / "data" / "README.md").read_text().split("\n## ")[1:]

    assert {section.splitlines()[0] for section in sections} == files
    for section in sections:
        assert "\n- Licence: " in section
        assert "\n- Taken from: " in section


def test_the_recipes_are_light_enough_to_ride_in_the_wheel():
    shipped = [
        file for kind in ("yaml", "py", "md", "csv", "txt") for file in RECIPES.rglob(f"*.{kind}")
    ]

    assert sum(file.stat().st_size for file in shipped) < 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_as_it_stands(name, trained):
    trainer = trained(name, "trainer.epochs=1")

    assert (trainer.epoch, trainer.stop_reason) == (1, "")


# What each one says


def test_parameters_registers_w_and_b_and_halves_their_distance_each_epoch(made):
    built = made("parameters")
    rule = {"w": torch.tensor([[1.0, 2, 3], [-1, 0, 1]]), "b": torch.tensor([1.0, -1])}
    apart = {name: rule[name] - value.detach() for name, value in built.model.named_parameters()}

    built.trainer.fit(epochs=3)

    assert {name: tuple(value.shape) for name, value in apart.items()} == {"w": (2, 3), "b": (2,)}
    for name, value in built.model.named_parameters():
        torch.testing.assert_close(rule[name] - value.detach(), apart[name] / 8)


def test_softmax_linear_prints_the_founding_losses_and_parameters(trained, recorder):
    trainer = trained("softmax_linear", plugins=[recorder])

    losses = [call.loss.item() for call in recorder.of("after_loss")]
    assert " ".join(f"{loss:.4f}" for loss in losses) == FOUNDING_LOSSES
    assert str(trainer.model.w.data) == (
        "tensor([[-0.5439, -0.4560],\n        [-0.3980, -0.3093],\n        [ 0.7288,  0.9381]])"
    )
    assert str(trainer.model.b.data) == "tensor([-0.6737, -0.5278,  0.8599])"


def test_softmax_linear_runs_from_the_command_line_and_prints_the_same_losses(tmp_path):
    command = Path(sys.executable).with_name("nnhooks")

    run = subprocess.run(
        [command, "run", "softmax_linear"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert " ".join(re.findall(r"loss=(\S+)", run.stdout + run.stderr)) == FOUNDING_LOSSES


def test_softmax_classes_learns_three_rows_of_three(trained):
    trainer = trained("softmax_classes")

    assert correct(trainer, trainer.batches) == [True, True, True]


def test_self_static_class_penalizes_weights_only_through_the_instance(trained):
    penalized = trained("self_static_class").model.w
    plain = trained("self_static_class", "loss=self_static_class.py:Model.squared_error").model.w

    torch.testing.assert_close(plain.data, torch.tensor([1.0, 2.0]), atol=0.02, rtol=0)
    assert penalized.norm() < plain.norm() - 0.05


def test_forward_backward_prints_each_output_beside_its_gradient(trained, capsys):
    trained("forward_backward")

    rows = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    for row in [
        ["inputs", "[[1.0, 2.0]]"],
        ["hidden", "[[1.0, -1.0]]", "[[-4.0, 0.0]]"],
        ["relu", "[[1.0, 0.0]]", "[[-4.0, -2.0]]"],
        ["output", "[[2.0]]", "[[-2.0]]"],
        ["loss", "1.0", "1.0"],
        ["hidden.weight", "[[1.0, 0.0], [1.0, -1.0]]", "[[-4.0, -8.0], [0.0, 0.0]]"],
        ["output.weight", "[[2.0, 1.0]]", "[[-2.0, 0.0]]"],
    ]:
        assert row in rows


def test_linear_begins_like_plain_pytorch_with_the_same_seed(made):
    built = made("linear")

    torch.manual_seed(42)
    layer = nn.Linear(4, 3)
    [(output, _)] = predictions(built.model, built.trainer.batches)
    torch.testing.assert_close(output, layer(LINEAR_ROWS).softmax(-1).detach(), rtol=0, atol=0)
    torch.testing.assert_close(layer(LINEAR_ROWS), LINEAR_ROWS @ layer.weight.T + layer.bias)


def test_linear_learns_both_rows(trained):
    trainer = trained("linear")

    assert correct(trainer, trainer.batches) == [True, True]


def test_sparse_and_dense_twins_stay_equal_while_every_step_sees_the_same_words(trained, capsys):
    together = trained("sparse_dense").metrics["twins_apart"]
    printed = capsys.readouterr().out
    one_by_one = trained("sparse_dense", "data.batch_size=1").metrics["twins_apart"]

    assert together < 1e-4 < 0.01 < one_by_one
    assert re.search(r"^dense +\(1000, 8\) +8000 +0 +32000$", printed, re.MULTILINE)
    assert re.search(r"^sparse +\(1000, 8\) +32 +4 +160$", printed, re.MULTILINE)


def test_transformer_beats_the_unigram_entropy_of_its_book(trained, capsys):
    trainer = trained("transformer", "trainer.epochs=2", "plugins.author.characters=40")

    printed = capsys.readouterr().out
    entropy = float(re.search(r"Unigram entropy of the text: (\S+) nats", printed)[1])
    assert 3 < entropy < 3.3
    assert trainer.metrics["validation/loss"] < entropy - 0.5
    assert len(printed.split("a character\n")[1]) >= 40


def test_iris_names_the_species_of_flowers_it_has_not_seen(trained):
    trainer = trained("iris")

    answers = correct(trainer, trainer.validation)
    assert len(answers) == 30
    assert sum(answers) >= 28


def test_digits_reads_over_95_percent_of_images_it_has_not_seen(trained):
    trainer = trained("digits")

    answers = correct(trainer, trainer.validation)
    assert len(answers) > 350
    assert sum(answers) / len(answers) > 0.95
