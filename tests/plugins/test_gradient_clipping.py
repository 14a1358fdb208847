"""Gradient clipping: no step larger than this, and the norms are told."""

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD

from nnhooks import hookimpl
from nnhooks_plugins.gradient_clipping import GradientClipping


@pytest.mark.parametrize("norm_type", [2.0, 1.0, float("inf")])
def test_it_equals_the_loop_written_by_hand_bit_for_bit(make_trainer, norm_type):
    trainer, plain, norms = make_trainer(GradientClipping(0.5, norm_type)), make_trainer(), []
    optimizer = SGD(plain.model.parameters(), lr=0.1)

    trainer.fit(epochs=1)
    for inputs, target in plain.batches:
        optimizer.zero_grad()
        mse_loss(plain.model(inputs), target).backward()
        norms.append(clip_grad_norm_(plain.model.parameters(), 0.5, norm_type))
        optimizer.step()

    assert torch.equal(trainer.model.weight, plain.model.weight)
    assert trainer.metrics["gradient_norm"] == pytest.approx(float(sum(norms)) / 3)


def test_a_gradient_accumulated_over_batches_is_clipped_once_and_whole(make_trainer, recorder):
    trainer = make_trainer(GradientClipping(1e-3), recorder, accumulate="epoch")

    trainer.fit(epochs=1)

    gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    assert gradient.norm() == pytest.approx(1e-3, rel=1e-3)


def test_a_step_that_is_skipped_anyway_does_not_spoil_the_mean(make_trainer):
    class Overflow:
        @hookimpl(tryfirst=True)
        def before_optimizer_step(self, trainer):
            if trainer.step == 2:
                trainer.model.weight.grad.fill_(torch.inf)
                trainer.skip("overflow")

    trainer = make_trainer(GradientClipping(1.0), Overflow())

    trainer.fit(epochs=1)

    assert 0 < trainer.metrics["gradient_norm"] < torch.inf


def test_the_mean_of_an_epoch_survives_an_interruption(make_trainer):
    class Interrupt:
        @hookimpl
        def on_step_end(self, trainer):
            if trainer.step == 2:
                trainer.interrupt("enough for now")

    whole = make_trainer(GradientClipping(1.0))
    whole.fit(epochs=1)
    first = make_trainer(GradientClipping(1.0), Interrupt())
    with pytest.raises(KeyboardInterrupt):
        first.fit(epochs=1)

    second = make_trainer(GradientClipping(1.0))
    second.load_state_dict(first.state_dict())
    second.fit(epochs=1)

    assert second.metrics == whole.metrics
