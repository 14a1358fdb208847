"""Validation: what the model says about data it does not learn from."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from nnhooks import DataError, PluginError, hookimpl
from nnhooks_plugins.validation import Validation


def test_it_logs_the_mean_over_all_validation_samples(make_trainer):
    held_out = [(torch.randn(size, 2), torch.randn(size, 1)) for size in (4, 1)]
    trainer = make_trainer(Validation(), validation=held_out)

    trainer.fit(epochs=1)

    inputs, targets = (torch.cat(parts) for parts in zip(*held_out, strict=True))
    expected = nn.functional.mse_loss(trainer.model(inputs), targets).item()
    assert trainer.metrics == {"validation/loss": pytest.approx(expected)}


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4]), (6, [])])
def test_every_says_after_which_epochs(make_trainer, recorder, every, epochs):
    make_trainer(Validation(every), recorder, validation=one_batch()).fit(epochs=5)

    logged = {call.epoch for call in recorder.of("on_epoch_end") if call.metrics}
    assert logged == set(epochs)


def test_training_with_and_without_it_ends_in_the_same_parameters(make_trainer):
    without = make_trainer(model=noisy_model())
    validated = make_trainer(Validation(), model=noisy_model(), validation=NoisyData())

    for trainer in (without, validated):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        trainer.fit(epochs=3)

    pairs = zip(without.model.parameters(), validated.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_randomness_of_python_and_numpy_is_left_alone_too(make_trainer):
    trainer = make_trainer(Validation(), validation=NoisyData())
    random.seed(1), np.random.seed(1)
    expected = random.random(), np.random.rand()
    random.seed(1), np.random.seed(1)

    trainer.fit(epochs=1)

    assert (random.random(), np.random.rand()) == expected


def test_whoever_logs_in_on_evaluate_has_seen_every_validation_batch(make_trainer):
    counter = Counter()

    make_trainer(counter, Validation(), validation=one_batch() * 5).fit(epochs=1)

    assert counter.seen_when_asked == 5


def test_the_model_is_in_eval_mode_without_gradients_and_back_afterwards(make_trainer, recorder):
    model = nn.Sequential(nn.Linear(2, 1), nn.Dropout())
    trainer = make_trainer(Validation(), recorder, model=model, validation=one_batch())

    trainer.fit(epochs=1)

    (batch,) = recorder.of("on_validation_batch")
    assert not batch.output.requires_grad
    assert not batch.loss.requires_grad
    assert [module.training for module in model.modules()] == [True, True, True]


def test_without_validation_batches_it_says_what_to_do(make_trainer):
    with pytest.raises(PluginError, match=r"has no batches: .* `validation: 0.2`"):
        make_trainer(Validation())


def test_batches_that_are_none_are_an_error(make_trainer):
    with pytest.raises(DataError, match="no validation batch"):
        make_trainer(Validation(), validation=[]).fit(epochs=1)


class Counter:
    """Counts validation batches, and notes how many there were when it was its turn to log."""

    def __init__(self):
        self.seen = self.seen_when_asked = 0

    @hookimpl
    def on_validation_batch(self):
        self.seen += 1

    @hookimpl
    def on_evaluate(self):
        self.seen_when_asked = self.seen


class NoisyData:
    """Validation batches that draw from every global generator."""

    def __iter__(self):
        noise = random.random() + np.random.rand()
        yield torch.randn(4, 2) + noise, torch.randn(4, 1)


def noisy_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.Dropout(), nn.Linear(8, 1))


def one_batch():
    return [(torch.ones(4, 2), torch.ones(4, 1))]
