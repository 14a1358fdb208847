"""Building: a recipe becomes the objects it names, and what they refuse is shown in the recipe."""

import random
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from nnhooks.build import build, check, show
from nnhooks.recipe import Along, RecipeError, load, read, render

RECIPE = """\
data:
  rows: [[1, 2, 3], [2, 3, 5], [3, 4, 7], [4, 5, 9]]
  label: [2]
  batch_size: 2
model: {class: Linear, in_features: 2, out_features: 1}
loss: MSELoss
optimizer: {class: SGD, lr: 0.1}
trainer: {epochs: 3}
"""

NET = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path
from typing import Callable
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from nnhooks import hookimpl

class Net(nn.Module):
    def __init__(self, width: int, inner: nn.Module | None = None,
                 make: Callable[[int, int], nn.Module] | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(2, width)
        self.inner, self.made = inner, make and make(2, 3)

    @classmethod
    def narrow(cls, width: int = 1) -> Net:
        return cls(width)

    def forward(self, x):
        return self.linear(x)

    @staticmethod
    def loss(output, target, scale: float = 1.0):
        return scale * (output - target).square().mean()

    def penalized(self, output, target):
        return self.loss(output, target) + self.linear.weight.square().sum()

class Stack(nn.Module):
    def __init__(self, layers: list[nn.Module], activation: Callable[[Tensor], Tensor]):
        super().__init__()
        self.layers, self.activation = nn.ModuleList(layers), activation

@dataclass(eq=False)
class Counter:
    every: int = 1
    @hookimpl
    def on_step_end(self): self.every += 1

def make(kind):
    return {"a": Net(1), "b": dict()}[kind]

def own_batches():
    return [(torch.ones(2, 2), torch.ones(2, 1))]

class Points(Dataset):
    def __init__(self, file: Path, count: int = 10):
        self.file, self.points = file, torch.randn(count, 2)
        self.answer, self.words = count, ["a", "b"]
    def __len__(self): return len(self.points)
    def __getitem__(self, row): return self.points[row], self.points[row, :1]

class Batches:
    def __init__(self): raise RuntimeError("no batches today")

class Plugin:
    def __init__(self, path: Path | None = None, steps: int = 0, words: list[str] = (), text=""):
        self.path, self.steps, self.words, self.text = path, steps, words, text
        if steps == 13:
            raise ValueError("13 is an unlucky number of `steps`")
    @hookimpl
    def on_setup(self, trainer):
        if self.text == "fail":
            raise KeyError("in my plugin")

class Misspelt:
    @hookimpl
    def on_fit_strat(self): ...
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a variation of the recipe, beside the file that it may name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)

    def written(*changes, text=RECIPE):
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "recipe.yaml").write_text(text)
        return tmp_path / "recipe.yaml"

    return written


def built(*overrides, **arguments):
    return build(read("recipe.yaml", overrides), **arguments)


def refused(*overrides):
    """Return the message of a recipe that cannot be built."""
    with pytest.raises(RecipeError) as error:
        built(*overrides)
    return render(error.value.problems, error.value.recipe)


def test_a_recipe_becomes_a_trainer(write):
    write()

    made = built("trainer.accumulate=2")

    made.trainer.fit(made.epochs)
    assert isinstance(made.trainer.optimizer, torch.optim.SGD)
    assert (made.epochs, made.trainer.step, made.trainer.accumulate) == (3, 3, 2)
    assert made.data.num_features == 2


def test_the_seed_comes_before_everything_and_the_data_takes_it(write):
    write(("batch_size: 2", "batch_size: 2\n  shuffle: true"))

    first = built("seed=7")
    drawn = random.random(), np.random.rand(), torch.rand(1)
    again = built("seed=7")

    assert (random.random(), np.random.rand(), torch.rand(1)) == drawn
    assert torch.equal(first.trainer.model.weight, again.trainer.model.weight)
    assert first.data.train.seed == 7
    assert built("data.seed=3").data.train.seed == 3


def test_the_three_kinds_of_method_can_be_named(write):
    write(("model: {class: Linear, in_features: 2, out_features: 1}", "model: net.py:Net.narrow"))

    static = built("loss=net.py:Net.loss").trainer
    instance = built("loss=net.py:Net.penalized").trainer

    assert static.loss is type(static.model).loss
    assert instance.loss.__self__ is instance.model


def test_a_function_with_arguments_is_a_loss(write):
    write()

    loss = built("loss.class=net.py:Net.loss", "loss.scale=2").trainer.loss

    assert isinstance(loss, partial)
    assert loss(torch.ones(1), torch.zeros(1)) == 2


def test_constructor_calls_nest(write):
    write()
    inner = "{class: torch.nn.Sequential}"

    model = built("model={class: net.py:Net, width: 1}", f"model.inner={inner}").trainer.model
    short = built("model={class: net.py:Net, width: 1, make: {class: Linear, bias: false}}")

    assert isinstance(model.inner, nn.Sequential)
    assert short.trainer.model.made.weight.shape == (3, 2)
    assert short.trainer.model.made.bias is None


def test_names_stand_for_functions_and_for_what_a_list_holds(write):
    write()
    listed = "layers: [{class: Linear, in_features: 2, out_features: 1}, {class: ReLU}]"

    model = built(
        "model={class: net.py:Stack, " + listed + ", activation: torch.tanh}"
    ).trainer.model

    assert [type(layer) for layer in model.layers] == [nn.Linear, nn.ReLU]
    assert model.activation is torch.tanh


def test_a_map_style_dataset_is_batched_and_split(write):
    write()
    data = "data={class: net.py:Points, file: x.txt, batch_size: 3, validation: 0.2, shuffle: true}"

    made = built(data, "seed=4")

    assert len(made.trainer.batches) == 3
    assert len(made.trainer.validation) == 1
    assert (made.trainer.batches.shuffle, made.trainer.batches.seed) == (True, 4)
    assert not made.trainer.validation.shuffle


def test_what_the_data_knows_is_asked_while_building(write, tmp_path):
    write()
    data = "data={class: net.py:Points, file: x.txt, batch_size: 3}"
    plugin = (
        "plugins=[p: {class: net.py:Plugin, steps: '${run:steps}', words: '${data:words}', "
        "path: '${run:dir}/out', text: '${data:answer} points'}]"
    )

    plugin = built(data, plugin, folder=tmp_path / "run").trainer.plugins.by_name()["p"]

    assert (plugin.steps, plugin.words, plugin.text) == (12, ["a", "b"], "10 points")
    assert plugin.path == tmp_path / "run" / "out"


def test_an_answer_is_checked_like_a_written_value(write):
    write()
    data = "data={class: net.py:Points, file: x.txt}"

    told = refused(data, "plugins=[{net.py:Plugin: {steps: '${data:words}'}}]")

    assert "`plugins.plugin.steps` should be a whole number, got [a, b]" in told


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("${data:num_clases}", "did you mean `num_classes`?"),
        ("${data:num_classes}", "the labels are amounts; `classes: true` makes classes of them"),
        ("${data:_x}", "Table has no `_x` to ask for"),
    ],
)
def test_a_question_without_answer_is_shown_where_it_stands(write, question, told):
    write(("in_features: 2", f'in_features: "{question}"'))

    message = refused()

    assert told in message
    assert "--> recipe.yaml:5:37" in message


def test_data_cannot_be_asked_about_itself(write):
    write(("batch_size: 2", "batch_size: ${data:num_features}"))

    assert "is asked for while the data itself is built" in refused()


def test_parameter_groups_are_chosen_by_name(write):
    write(("lr: 0.1", "lr: 0.1, groups: [{match: [bi*], lr: 0.5, momentum: 0.9}]"))

    weights, biases = built().trainer.optimizer.param_groups

    assert (weights["lr"], weights["momentum"]) == (0.1, 0)
    assert (biases["lr"], biases["momentum"]) == (0.5, 0.9)
    assert [tuple(p.shape) for p in biases["params"]] == [(1,)]


def test_a_group_that_matches_nothing_is_a_mistake(write):
    write(("lr: 0.1", "lr: 0.1, groups: [{match: biass, lr: 0.5}]"))

    told = refused()

    assert "no parameter's name matches `biass`" in told
    assert "did you mean `bias`? the model has: weight, bias" in told


def test_a_schedule_is_the_plugin_it_stands_for(write):
    write(("trainer:", "scheduler: {class: StepLR, step_size: 1, gamma: 0.5}\ntrainer:"))

    trainer = built().trainer
    trainer.fit(2)

    assert list(trainer.plugins.by_name()) == ["lr_schedule"]
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.025)


def test_a_validation_share_brings_its_plugin(write):
    write(("batch_size: 2", "batch_size: 2\n  validation: 0.5"))

    trainer = built().trainer
    trainer.fit(1)

    assert "validation/loss" in trainer.metrics


REFUSALS = {
    "a value that the optimizer refuses": (
        ["optimizer.lr=-1"],
        "SGD failed: Invalid learning rate: -1",
        "command line: optimizer.lr=-1",
    ),
    "a value inside a list": (
        ["optimizer={class: AdamW, betas: [2.0, 0.9]}"],
        "AdamW failed: Invalid beta parameter at index 0: 2.0",
        "command line: optimizer={class",
    ),
    "a setting in quotes": (
        ["plugins=[{net.py:Plugin: {steps: 13}}]"],
        "Plugin failed: 13 is an unlucky number of `steps`",
        "= net.py:",
    ),
    "a column that is not there": (
        ["data.label=prise"],
        "has no column `prise`",
        "command line: data.label=prise",
    ),
    "a file that is not there": (
        ["data={csv: nothing.csv}"],
        "there is no file",
        "command line: data={csv: nothing.csv}",
    ),
    "data whose code fails": (
        ["data=net.py:Batches"],
        "Batches failed: RuntimeError: no batches today",
        'raise RuntimeError("no batches today")',
    ),
    "a model function that returns something else": (
        ["model={class: net.py:make, kind: b}"],
        "make returned dict, not a Module",
        "command line: model=",
    ),
    "a model function whose code fails": (
        ["model={class: net.py:make, kind: c}"],
        "make failed: KeyError: 'c'",
        'return {"a": Net(1), "b": dict()}[kind]',
    ),
    "a model without parameters": (
        ["model=Identity"],
        "Identity has no parameters, so there is nothing to train",
        "command line: model=Identity",
    ),
    "a plugin with a misspelt hook": (
        ["plugins=[net.py:Misspelt]"],
        "misspelt.on_fit_strat: there is no such hook; did you mean `on_fit_start`?",
        "command line: plugins=[net.py:Misspelt]",
    ),
    "a plugin that fails while it sets up": (
        ["plugins=[{net.py:Plugin: {text: fail}}]"],
        "Plugin failed: KeyError: 'in my plugin'",
        'raise KeyError("in my plugin")',
    ),
    "an optimizer that needs a closure": (
        ["optimizer=LBFGS"],
        "LBFGS.step needs a closure, and Trainer.train_step gives none",
        "command line: optimizer=LBFGS",
    ),
    "a schedule that waits for a metric": (
        ["scheduler=ReduceLROnPlateau"],
        "ReduceLROnPlateau needs a metric to judge by, as in `monitor: validation/loss`",
        "command line: scheduler=ReduceLROnPlateau",
    ),
    "validation without batches": (
        ["plugins=[validation]"],
        "validation has no batches",
        "command line: plugins=[validation]",
    ),
    "an instance method, once the model turns out to be another": (
        ["model={class: net.py:make, kind: a}", "loss=net.py:Points.__len__"],
        "Points.__len__ is a method of Points",
        "the model is Net",
    ),
    "data that is no data": (
        ["data={class: net.py:make, kind: a}"],
        "Net has no `train`, is no Dataset and no iterable of (inputs, target)",
        "command line: data=",
    ),
    "settings for batches that are not ours": (
        ["data={class: net.py:own_batches, batch_size: 2}"],
        "list makes its own batches, so `batch_size` says nothing",
        "command line: data=",
    ),
}


@pytest.mark.parametrize(("overrides", "message", "place"), REFUSALS.values(), ids=REFUSALS)
def test_what_a_constructor_refuses_is_shown_in_the_recipe(write, overrides, message, place):
    write()

    told = refused(*overrides)

    assert message in told
    assert place in told


def test_a_refusal_points_at_the_value_in_the_file(write):
    write(("lr: 0.1", "lr: -1"))

    assert refused() == (
        "error: SGD failed: Invalid learning rate: -1.0\n"
        " --> recipe.yaml:7:29\n"
        "  |\n"
        "7 | optimizer: {class: SGD, lr: -1}\n"
        "  |                             ^^\n"
        "\n"
        "1 problem in recipe.yaml; nothing was run"
    )


def test_checking_reports_what_reading_and_signatures_say_in_one_list(write):
    write(("lr: 0.1", "lr: big"), ("trainer:", "trainr: 1\ntrainer:"), ("3}", "0}"))

    problems = check(load("recipe.yaml"))

    assert [problem.path for problem in problems] == ["optimizer.lr", "trainr", "trainer.epochs"]


def test_a_dataclass_is_a_plugin(write):
    write()

    trainer = built("plugins=[{net.py:Counter: {every: 5}}]").trainer
    trainer.fit(1)

    assert trainer.plugins.by_name()["counter"].every == 7
    assert "`plugins.counter.every` should be a whole number" in refused(
        "plugins=[{net.py:Counter: {every: x}}]"
    )


def test_checking_constructs_nothing(write):
    write()

    assert check(read("recipe.yaml", ["data=net.py:Batches", "model=Identity"])) == []


def test_a_syntax_error_in_a_local_file_shows_its_line(write, tmp_path):
    (tmp_path / "unfinished.py").write_text("class Net(\n")
    write()

    told = refused("model=unfinished.py:Net")

    assert "cannot import unfinished.py: '(' was never closed\n" in told
    assert "= unfinished.py:1: class Net(" in told


def test_a_local_file_runs_once_and_again_when_it_changes(write, tmp_path):
    counting = "import sys\nfrom torch import nn\nsys.runs = getattr(sys, 'runs', 0) + 1\n"
    (tmp_path / "counted.py").write_text(f"{counting}class Net(nn.Linear): ...\nloss = nn.L1Loss\n")
    write()
    named = ["model={class: counted.py:Net, in_features: 2, out_features: 1}"]

    check(load("recipe.yaml", [*named, "loss=counted.py:loss"]))
    check(load("recipe.yaml", named))
    once = sys.runs
    (tmp_path / "counted.py").write_text(f"{counting}class Net(nn.Linear): ...\n")
    check(load("recipe.yaml", named))

    assert (once, sys.runs) == (1, 2)
    del sys.runs


def test_the_full_recipe_says_everything_and_runs_the_same(write, tmp_path, monkeypatch):
    monkeypatch.setenv("RATE", "0.05")
    (tmp_path / "points.csv").write_text("a,b,c\n1,2,3\n2,3,5\n3,4,7\n4,5,9\n")
    write(
        ("rows: [[1, 2, 3], [2, 3, 5], [3, 4, 7], [4, 5, 9]]", "csv: points.csv"),
        ("model: {class: Linear, in_features: 2, out_features: 1}", "model: net.py:Net.narrow"),
        ("batch_size: 2", "batch_size: 2\n  validation: 0.5\n  shuffle: true"),
        ("lr: 0.1", "lr: '${env:RATE}', groups: [{match: '*bias', lr: 1}]"),
        ("trainer:", "scheduler: {class: StepLR, step_size: '${run:steps}'}\ntrainer:"),
        ("epochs: 3}", "epochs: 3}\nplugins: [p: {class: net.py:Plugin, text: 'say ${x}'}]"),
        ("${x}", "$${x}"),
    )
    recipe = read("recipe.yaml", ["seed=5"], along=Along(("gradient_clipping",), ("loss",), ()))
    (tmp_path / "run" / "below").mkdir(parents=True)

    first = build(recipe)
    (tmp_path / "run" / "recipe.full.yaml").write_text(first.full)
    for name, path in recipe.local_files.items():
        (tmp_path / "run" / name).write_bytes(path.read_bytes())
    again = build(read(tmp_path / "run" / "recipe.full.yaml"))

    for made in (first, again):
        made.trainer.fit(made.epochs)
    assert first.trainer.metrics == again.trainer.metrics
    assert list(first.trainer.plugins.by_name()) == list(again.trainer.plugins.by_name())
    assert again.trainer.plugins.by_name()["p"].text == "say ${x}"
    assert again.full.splitlines()[0].startswith("name: recipe ")
    assert "0.05" not in first.full
    assert first.data_files == again.data_files == [tmp_path / "points.csv"]


def test_showing_says_where_each_value_comes_from(write):
    write()

    told = show(read("recipe.yaml", ["trainer.accumulate=2"], along=Along(last=("loss",))))

    lines = [line.split("  # ") for line in told.splitlines() if "#" in line]
    origins = {setting.rstrip(): origin for setting, origin in lines}
    assert origins["name: recipe"] == "name of the file"
    assert origins["seed: 0"] == "nnhooks default"
    assert origins["  lr: 0.1"] == "recipe.yaml:7"
    assert origins["  nesterov: false"] == "SGD default"
    assert origins["  accumulate: 2"] == "command line"
    assert origins["  - loss"] == "brought along by nnhooks run"


def test_only_one_section_can_be_shown(write):
    write()

    told = show(read("recipe.yaml"), only="trainer")

    assert [line.split(":")[0].strip() for line in told.splitlines()] == [
        "trainer",
        "class",
        "epochs",
        "accumulate",
    ]
