"""RoundAccuracy: how often the rounded output is the target."""

import pytest
import torch
from torch import nn

from nnhooks import PluginError, hookimpl
from nnhooks_plugins.round_accuracy import RoundAccuracy


@pytest.mark.parametrize(
    ("options", "output", "target", "expected"),
    [
        ({}, [0.6, 1.4, 2.5, 9.0], [1, 1, 2, 8], 0.75),
        ({}, [[0.6, 1.4], [-0.4, 9.0]], [[1, 1], [0, 8]], 0.75),
        ({"decimals": 1}, [0.31, 0.26], [0.3, 0.2], 0.5),
        ({"tolerance": 1}, [3.2, 5.4], [4, 4], 1.0),
        ({}, [3, 4], [3, 5], 0.5),
    ],
)
def test_the_share_of_outputs_that_round_to_their_target(
    make_trainer, options, output, target, expected
):
    trainer = answering(make_trainer, RoundAccuracy(**options), output, target)

    trainer.fit(epochs=1)

    assert trainer.metrics == {"round_accuracy": expected}
    assert trainer.findings == []


@pytest.mark.parametrize(
    ("output", "target", "expected"),
    [
        pytest.param(torch.eye(3), [4.0, 5.0, 6.0], 0.0, id="the founding shapes"),
        pytest.param([[4, 4], [5, 4]], [4, 5], 0.5, id="a row is right if all of it is"),
        pytest.param([[4], [5]], [4, 5], 1.0, id="a column against a vector"),
        pytest.param([4, 5], [[4], [6]], 0.5, id="a vector against a column"),
    ],
)
def test_shapes_that_differ_are_reported_and_compared_row_by_row(
    make_trainer, output, target, expected
):
    trainer = answering(make_trainer, RoundAccuracy(), output, target)

    trainer.fit(epochs=3)

    (finding,) = trainer.findings
    assert finding.level == "error"
    assert finding.way_out
    shapes = [str(tuple(torch.as_tensor(value).shape)) for value in (output, target)]
    assert f"output {shapes[0]} against target {shapes[1]}" in finding.message
    assert trainer.metrics == {"round_accuracy": expected}


@pytest.mark.parametrize(
    ("output", "target"), [([1, 2, 3], [1]), ([[1, 2]], [[1, 2, 3]]), (1, [1])]
)
def test_shapes_without_a_meaning_by_row_get_no_number(make_trainer, output, target):
    trainer = answering(make_trainer, RoundAccuracy(), output, target)

    trainer.fit(epochs=1)

    assert trainer.metrics == {}
    assert trainer.findings[0].evidence == "there is no number for such batches"


def test_the_last_rounded_outputs_are_shown_beside_their_targets(make_trainer, capsys):
    output = [[0.02, -0.01, 1.2], [0, 0, 1], [0, 0, 1]]

    answering(make_trainer, RoundAccuracy(), output, [4.0, 5.0, 6.0]).fit(epochs=2)

    assert capsys.readouterr().out == (
        "Rounded outputs of step 2, beside their targets\n"
        "  0 0 1   4\n"
        "  0 0 1   5\n"
        "  0 0 1   6\n"
        "Right in epoch 2: 0 of 3\n"
    )


def test_many_outputs_are_not_shown(make_trainer, capsys):
    answering(make_trainer, RoundAccuracy(), torch.zeros(25), torch.zeros(25)).fit(epochs=1)

    assert capsys.readouterr().out == ""


def test_validation_batches_are_counted_by_themselves(make_trainer):
    @hookimpl(tryfirst=True)
    def on_evaluate(trainer):
        for target in (torch.tensor([1.0]), torch.tensor([2.0])):
            trainer.hook.on_validation_batch(
                trainer=trainer, output=torch.ones(1), target=target, loss=torch.zeros(())
            )

    announce = type("Announce", (), {"on_evaluate": staticmethod(on_evaluate)})()
    trainer = answering(make_trainer, RoundAccuracy(), [1.0], [1.0], announce)

    trainer.fit(epochs=2)

    assert trainer.metrics == {"round_accuracy": 1.0, "validation/round_accuracy": 0.5}


def test_its_counts_survive_an_interruption(make_trainer):
    counting = RoundAccuracy()
    answering(make_trainer, counting, [1.0, 2.0], [1.0, 5.0]).fit(epochs=1)

    resumed = RoundAccuracy()
    resumed.load_state_dict(counting.state_dict())

    assert resumed.training.value == 0.5


def test_what_is_no_tensor_is_refused(make_trainer):
    trainer = make_trainer(
        RoundAccuracy(), batches=[(torch.zeros(1, 2), [1.0])], loss=lambda output, _: output.sum()
    )

    with pytest.raises(PluginError, match="output and target are Tensor and list"):
        trainer.fit(epochs=1)


class Answer(nn.Module):
    """A model that always gives the same output."""

    def __init__(self, output):
        super().__init__()
        self.output = nn.Parameter(torch.as_tensor(output).float().clone())

    def forward(self, inputs):
        return self.output


def answering(make_trainer, plugin, output, target, *others):
    """A trainer whose model answers `output` to one batch, and never learns."""
    return make_trainer(
        plugin,
        *others,
        model=Answer(output),
        batches=[(torch.zeros(1), torch.as_tensor(target))],
        loss=lambda output, target: 0 * output.sum(),
    )
