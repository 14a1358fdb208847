"""`nnhooks predict`: outputs and parameters, as PyTorch prints them."""

import re

import torch
from torch import nn

RECIPE = """
# Two times x plus one.
data:
  rows: [[1, 3], [2, 5], [3, 7], [4, 9], [5, 11], [6, 13]]
  features: [0]
  label: [1]
  batch_size: 3
  shuffle: true
model: {class: Linear, in_features: 1, out_features: 1}
loss: MSELoss
optimizer: {class: SGD, lr: 0.05}
trainer: {epochs: 200}
plugins:
  - checkpoint: {every: 100}
"""


def test_an_untrained_linear_layer_answers_as_plain_pytorch_does(nnhooks, here):
    torch.manual_seed(42)
    linear = nn.Linear(4, 3)
    rows = torch.tensor([[1.2, 2.1, 3.3, 4.5], [2.3, 3.4, 4.5, 5.1]])
    output = linear(rows).softmax(-1).detach()

    result = nnhooks("predict", "linear")

    assert result.exit_code == 0
    assert result.stdout == (
        f"output\n{output}\nlinear.weight\n{linear.weight}\nlinear.bias\n{linear.bias}\n"
    )
    assert list(here.iterdir()) == []


def test_the_folder_of_a_run_answers_with_what_it_has_learned(nnhooks, here):
    (here / "line.yaml").write_text(RECIPE)
    nnhooks("run", "line.yaml")
    [folder] = (here / "runs" / "line").iterdir()
    before = sorted(folder.rglob("*"))

    result = nnhooks("predict", folder)

    numbers = re.findall(r"\d+\.\d+", result.stdout)
    assert [round(float(number)) for number in numbers[:6]] == [3, 5, 7, 9, 11, 13], (
        "in the order of the rows"
    )
    assert sorted(folder.rglob("*")) == before


def test_a_run_without_checkpoints_has_nothing_to_answer_with(nnhooks, here):
    (here / "line.yaml").write_text(RECIPE)
    nnhooks("run", "line.yaml", "--without", "checkpoint")
    [folder] = (here / "runs" / "line").iterdir()

    result = nnhooks("predict", folder)

    assert result.exit_code == 3
    assert "has no checkpoint" in result.stderr
