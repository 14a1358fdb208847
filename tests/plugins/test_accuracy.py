"""Accuracy: the share of samples whose class is predicted right."""

import re

import pytest
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from nnhooks import hookimpl
from nnhooks_plugins.accuracy import Accuracy

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [1.0, 0.0, 5.0], [9.0, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("output", "target", "expected"),
    [
        pytest.param(LOGITS, [0, 1, 2, 1], 0.75, id="logits of three classes"),
        pytest.param(LOGITS.softmax(1), [0, 1, 2, 1], 0.75, id="probabilities"),
        pytest.param(LOGITS, [0, 1, -100, 1], 2 / 3, id="an ignored sample does not count"),
        pytest.param(LOGITS.T[None], [[2, 0, 2, 0]], 0.5, id="a class for each place"),
        pytest.param([[-1.0], [2.0]], [[0.0], [1.0]], 1.0, id="two classes, in a column"),
        pytest.param([[-1.0], [2.0]], [1, 1], 0.5, id="two classes, target without the column"),
        pytest.param([-1.0, 2.0, 3.0], [0.0, 1.0, 0.0], 2 / 3, id="two classes, in a vector"),
    ],
)
def test_the_share_of_right_classes(make_trainer, output, target, expected):
    trainer = answering(make_trainer, Accuracy(), output, target)

    trainer.fit(epochs=1)

    assert trainer.metrics == {"accuracy": pytest.approx(expected)}
    assert trainer.findings == []


def test_a_threshold_for_probabilities(make_trainer):
    trainer = answering(make_trainer, Accuracy(threshold=0.5), [0.4, 0.6], [0, 1])

    trainer.fit(epochs=1)

    assert trainer.metrics == {"accuracy": 1.0}


@pytest.mark.parametrize(
    ("output", "target", "message"),
    [
        ([[1.0, 2.0, 3.0]], [[0.0, 0.0, 1.0]], r"output \(1, 3\) and target \(1, 3\) are not"),
        ([[1.0, 2.0, 3.0]], [4.0], "amounts, not class numbers"),
        (5.0, 5.0, r"output \(\) and target \(\)"),
    ],
)
def test_what_is_no_classification_is_reported_once_and_gets_no_number(
    make_trainer, output, target, message
):
    trainer = answering(make_trainer, Accuracy(), output, target)

    trainer.fit(epochs=3)

    (finding,) = trainer.findings
    assert finding.level == "error"
    assert finding.way_out
    assert trainer.metrics == {}
    assert re.search(message, finding.message)


def test_validation_batches_are_counted_by_themselves_and_afresh(make_trainer):
    validating = Announce(
        [(LOGITS, torch.tensor([1, 0, 0, 1]))], [(LOGITS, torch.tensor([0, 0, 0, 0]))]
    )
    trainer = answering(make_trainer, Accuracy(), LOGITS, [0, 1, 2, 0], validating)

    trainer.fit(epochs=2)

    assert trainer.metrics == {"accuracy": 1.0, "validation/accuracy": 0.5}


def test_an_epoch_interrupted_and_resumed_counts_every_batch_once(make_trainer):
    options = {
        "model": nn.Linear(2, 3),
        "loss": cross_entropy,
        "batches": [(torch.randn(size, 2), torch.randint(3, (size,))) for size in (4, 4, 1)],
    }
    first = make_trainer(Accuracy(), Interrupt(), **options)

    with pytest.raises(KeyboardInterrupt):
        first.fit(epochs=1)
    resumed = make_trainer(Accuracy(), **options)
    resumed.load_state_dict(first.state_dict())
    resumed.fit(epochs=1)

    assert int(resumed.plugins.by_name()["Accuracy"].training.count) == 9


def test_it_goes_with_binary_cross_entropy(make_trainer):
    batches = [(torch.ones(4, 2), torch.ones(4, 1))]
    trainer = make_trainer(Accuracy(), batches=batches, loss=binary_cross_entropy_with_logits)

    trainer.fit(epochs=50)

    assert trainer.metrics["accuracy"] == 1.0


class Announce:
    """Announces these validation batches, epoch by epoch; before Accuracy, as Validation does."""

    def __init__(self, *epochs):
        self.epochs = epochs

    @hookimpl(tryfirst=True)
    def on_evaluate(self, trainer, epoch):
        for output, target in self.epochs[epoch - 1]:
            trainer.hook.on_validation_batch(
                trainer=trainer, output=output, target=target, loss=torch.tensor(0.0)
            )


class Interrupt:
    """Ends the run after two steps, as Ctrl-C would."""

    @hookimpl
    def on_step_end(self, trainer):
        if trainer.step == 2:
            trainer.interrupt("enough")


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
