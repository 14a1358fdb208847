"""ParameterPrinter: every parameter, before and after."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from nnhooks import hookimpl
from nnhooks_plugins.parameter_printer import ParameterPrinter


def test_small_parameters_are_printed_whole_before_and_after(make_trainer, capsys):
    trainer = founding(make_trainer, ParameterPrinter())

    trainer.fit(epochs=10)

    assert capsys.readouterr().out == (
        "Parameters before training\n"
        "  w (3, 2) = [[ 0.1000,  0.2000],\n"
        "              [ 0.2000,  0.3000],\n"
        "              [ 0.1000,  0.3000]]\n"
        "  b (3,)   = [ 0.0000,  0.1000,  0.2000]\n"
        "Parameters after training\n"
        "  w (3, 2) = [[-0.5439, -0.4560],\n"
        "              [-0.3980, -0.3093],\n"
        "              [ 0.7288,  0.9381]]\n"
        "  b (3,)   = [-0.6737, -0.5278,  0.8599]\n"
    )


@pytest.mark.parametrize(
    ("every", "moments"),
    [
        ("fit", ["before training", "after training"]),
        ("epoch", ["before training", "after epoch 1", "after epoch 2"]),
        ("step", ["before training", *(f"after step {step}" for step in range(1, 7))]),
    ],
)
def test_every_says_how_often(make_trainer, capsys, every, moments):
    make_trainer(ParameterPrinter(every)).fit(epochs=2)

    assert titles(capsys) == moments


def test_a_large_tensor_is_summed_up(make_trainer, capsys):
    model = nn.Linear(2, 100, bias=False)
    with torch.no_grad():
        model.weight.fill_(-0.5)
        model.weight[0, 0] = 2.0

    lines = shown(make_trainer, capsys, model)

    assert lines == ["  weight (100, 2): 200 float32, -0.5000 to 2.0000, mean -0.4875, norm 7.3314"]


def test_zeros_and_nans_are_counted_apart(make_trainer, capsys):
    model = nn.Linear(2, 100, bias=False)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[:2] = torch.nan

    text = " ".join(" ".join(shown(make_trainer, capsys, model)).split())

    assert text.endswith("0.0000 to 0.0000, mean 0.0000, norm 0.0000, 196 zero, 4 NaN")


def test_whole_says_how_many_numbers_are_printed(make_trainer, capsys):
    assert len(shown(make_trainer, capsys, nn.Linear(5, 5, bias=False))) == 1
    assert len(shown(make_trainer, capsys, nn.Linear(5, 5, bias=False), whole=25)) == 5


def test_tied_parameters_are_printed_once_and_frozen_ones_are_marked(make_trainer, capsys):
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model[1].bias.requires_grad_(False)

    lines = shown(make_trainer, capsys, model)

    names = [line.split(" =")[0].strip() for line in lines if " = " in line]
    assert names == ["0.weight (2, 2)", "1.bias (2,) frozen"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_every_floating_type_can_be_printed(make_trainer, capsys, dtype):
    (line,) = shown(make_trainer, capsys, nn.Linear(2, 1, bias=False).to(dtype))

    assert line.startswith("  weight (1, 2) = [[")


def test_a_lazy_parameter_has_no_shape_yet(make_trainer, capsys):
    lines = shown(make_trainer, capsys, nn.Sequential(nn.LazyLinear(3)))

    assert lines == ["  0.weight (no shape yet)", "  0.bias (no shape yet)"]


def test_no_line_is_wider_than_a_terminal(make_trainer, capsys):
    deep = nn.Module()
    deep.a_block_whose_name_is_rather_long = nn.ModuleDict({"attention_output": nn.Linear(9, 20)})

    lines = shown(make_trainer, capsys, deep)

    assert max(map(len, lines)) <= 80


def test_what_failed_is_shown_as_it_was_then(make_trainer, capsys):
    class Fail:
        @hookimpl
        def on_step_end(self):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        make_trainer(ParameterPrinter(), Fail()).fit(epochs=1)

    assert titles(capsys) == ["before training", "at step 1, failed"]


def test_a_process_that_is_not_the_main_one_prints_nothing(make_trainer, capsys):
    trainer = make_trainer(ParameterPrinter())
    trainer.is_main = False

    trainer.fit(epochs=1)

    assert capsys.readouterr().out == ""


class Founding(nn.Module):
    """Softmax over a linear layer, as in the founding notes."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.1, 0.2], [0.2, 0.3], [0.1, 0.3]]))
        self.b = nn.Parameter(torch.tensor([0.0, 0.1, 0.2]))

    def forward(self, x):
        return torch.softmax((x @ self.w.t() + self.b).squeeze(), -1)


def founding(make_trainer, *plugins):
    """The trainer of the founding notes."""
    inputs = torch.tensor([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
    return make_trainer(
        *plugins,
        model=Founding(),
        loss=lambda output, target: ((output - target) ** 2).mean(),
        optimizer=partial(AdamW, lr=0.1),
        batches=[(inputs, torch.tensor([4.0, 5.0, 6.0]))],
    )


def shown(make_trainer, capsys, model, **options):
    """The lines that are printed of a model, without the title."""
    make_trainer(ParameterPrinter(**options), model=model).fit(epochs=0)
    return capsys.readouterr().out.splitlines()[1:]


def titles(capsys):
    """What follows "Parameters" in each title that was printed."""
    lines = capsys.readouterr().out.splitlines()
    return [line.removeprefix("Parameters ") for line in lines if line.startswith("Parameters")]
