"""The learning rate schedule: the same steps as a loop written by hand, wherever it is taken up."""

from functools import partial

import pytest
import torch
from torch.nn.functional import mse_loss
from torch.optim import SGD
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from nnhooks import PluginError, hookimpl
from nnhooks_plugins.lr_schedule import LrSchedule

EPOCHS, STEPS = 4, 12  # the small Trainer has 3 batches


def warm_up(optimizer):
    parts = [StepLR(optimizer, 1, 1.5), CosineAnnealingLR(optimizer, 3)]
    return SequentialLR(optimizer, parts, milestones=[2])


SCHEDULES = [
    ("epoch", partial(StepLR, step_size=1, gamma=0.5)),
    ("epoch", partial(CosineAnnealingLR, T_max=EPOCHS)),
    ("epoch", warm_up),
    ("step", partial(OneCycleLR, max_lr=0.3, total_steps=STEPS)),
    ("step", partial(CosineAnnealingLR, T_max=STEPS)),
]
by_hand = pytest.mark.parametrize(("every", "schedule"), SCHEDULES)


def written_by_hand(trainer, schedule, every):
    """Train as PyTorch's documentation does."""
    optimizer = SGD(trainer.model.parameters(), lr=0.1)
    scheduler = schedule(optimizer)
    for _ in range(EPOCHS):
        for inputs, target in trainer.batches:
            optimizer.zero_grad()
            mse_loss(trainer.model(inputs), target).backward()
            optimizer.step()
            if every == "step":
                scheduler.step()
        if every == "epoch":
            scheduler.step()
    return trainer.model.weight


@by_hand
def test_it_equals_the_loop_written_by_hand_bit_for_bit(make_trainer, every, schedule):
    trainer = make_trainer(LrSchedule(schedule, every))

    trainer.fit(EPOCHS)

    assert torch.equal(trainer.model.weight, written_by_hand(make_trainer(), schedule, every))


@by_hand
@pytest.mark.parametrize("stop_at", [1, 4, 6, 8])
def test_a_run_taken_up_in_the_middle_follows_the_same_schedule(
    make_trainer, every, schedule, stop_at
):
    class Interrupt:
        @hookimpl
        def on_step_end(self, trainer):
            if trainer.step == stop_at:
                trainer.interrupt("enough for now")

    first = make_trainer(LrSchedule(schedule, every), Interrupt())
    with pytest.raises(KeyboardInterrupt):
        first.fit(EPOCHS)

    second = make_trainer(LrSchedule(schedule, every))
    second.load_state_dict(first.state_dict())
    second.fit(EPOCHS)

    assert torch.equal(second.model.weight, written_by_hand(make_trainer(), schedule, every))


def test_a_skipped_step_does_not_move_the_schedule(make_trainer):
    class SkipTheSecond:
        @hookimpl
        def before_optimizer_step(self, trainer):
            if trainer.step == 2:
                trainer.skip("for the test")

    schedule = LrSchedule(partial(StepLR, step_size=1, gamma=0.5), every="step")
    trainer = make_trainer(schedule, SkipTheSecond())

    trainer.fit(epochs=1)

    assert trainer.optimizer.param_groups[0]["lr"] == 0.1 * 0.5**2


def test_lr_is_logged_as_the_epoch_used_it(make_trainer, recorder):
    trainer = make_trainer(LrSchedule(partial(StepLR, step_size=1, gamma=0.5)), recorder)

    trainer.fit(epochs=3)

    assert [metrics.metrics["lr"] for metrics in recorder.of("on_epoch_end")] == [0.1, 0.05, 0.025]


def test_a_plateau_is_judged_by_the_metric_named(make_trainer):
    class NeverBetter:
        @hookimpl
        def on_evaluate(self, trainer):
            trainer.log("validation/loss", 1.0)

    schedule = partial(ReduceLROnPlateau, factor=0.1, patience=1)
    trainer = make_trainer(LrSchedule(schedule, monitor="validation/loss"), NeverBetter())

    trainer.fit(epochs=3)

    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("schedule", "options", "message"),
    [
        (ReduceLROnPlateau, {}, "ReduceLROnPlateau needs a metric"),
        (ReduceLROnPlateau, {"monitor": "loss", "every": "step"}, "`every: epoch`"),
        (partial(StepLR, step_size=1), {"monitor": "loss"}, "StepLR looks at no metric"),
    ],
)
def test_a_schedule_and_a_metric_that_do_not_fit_are_an_error(
    make_trainer, schedule, options, message
):
    with pytest.raises(PluginError, match=message):
        make_trainer(LrSchedule(schedule, **options))


def test_a_schedule_by_epochs_is_not_called_in_the_step(make_trainer):
    trainer = make_trainer(LrSchedule(partial(StepLR, step_size=1)))

    assert "after_optimizer_step" not in vars(trainer.hook)
