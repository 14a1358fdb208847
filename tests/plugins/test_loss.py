"""Loss: the mean training loss of an epoch."""

import io

import pytest
import torch

from nnhooks import Trainer, hookimpl
from nnhooks_plugins.loss import Loss


def test_the_loss_of_an_epoch_is_the_mean_over_its_samples(make_trainer, recorder):
    uneven = [(torch.randn(size, 2), torch.randn(size, 1)) for size in (4, 4, 1)]

    make_trainer(Loss(), recorder, batches=uneven).fit(epochs=2)

    losses = [call.loss.item() for call in recorder.of("after_loss")]
    expected = [(4 * a + 4 * b + c) / 9 for a, b, c in (losses[:3], losses[3:])]
    assert [call.value for call in recorder.of("on_log")] == pytest.approx(expected)
    assert {call.name for call in recorder.of("on_log")} == {"loss"}


def test_an_epoch_interrupted_and_resumed_has_the_same_mean_bit_for_bit(make_trainer):
    whole = make_trainer(Loss())
    whole.fit(epochs=1)
    first = make_trainer(Loss(), Interrupt(after=2))

    with pytest.raises(KeyboardInterrupt):
        first.fit(epochs=1)
    second = make_trainer(Loss())
    second.load_state_dict(saved_and_loaded(first.state_dict()))
    second.fit(epochs=1)

    assert second.metrics["loss"] == whole.metrics["loss"]


def test_a_million_small_losses_lose_no_digit():
    loss = Loss()
    target = torch.zeros(1)

    for _ in range(100_000):
        loss.after_loss(output=target, target=target, loss=torch.tensor(0.1))

    assert loss.mean.value == pytest.approx(torch.tensor(0.1).item(), rel=1e-10)


def test_it_keeps_no_graph_alive(make_trainer):
    loss = Loss()

    make_trainer(loss).fit(epochs=1)

    assert not loss.mean.sum.requires_grad


def test_a_train_step_that_announces_no_loss_logs_none(make_trainer):
    class Silent(Trainer):
        def train_step(self, batches):
            pass

    trainer = make_trainer(Loss(), trainer=Silent)

    trainer.fit(epochs=1)

    assert trainer.metrics == {}


class Interrupt:
    """Ends the run after some steps, as Ctrl-C would."""

    def __init__(self, after):
        self.after = after

    @hookimpl
    def on_step_end(self, trainer):
        if trainer.step == self.after:
            trainer.interrupt("enough")


def saved_and_loaded(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)
