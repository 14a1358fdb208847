"""Early stopping: when enough is enough, and what counts as better."""

from math import nan

import pytest

from nnhooks import PluginError, hookimpl
from nnhooks_plugins.early_stopping import EarlyStopping


class Says:
    """Logs one of these values at the end of each epoch."""

    def __init__(self, *values, name="validation/loss"):
        self.values, self.name = values, name

    @hookimpl
    def on_evaluate(self, trainer, epoch):
        trainer.log(self.name, self.values[epoch - 1])


@pytest.mark.parametrize(
    ("values", "options", "epochs"),
    [
        ([5, 4, 4, 4, 3], {"patience": 2}, 4),
        ([5, 4, 4, 3, 3, 3], {"patience": 2}, 6),
        ([5, nan, nan, 1], {"patience": 2}, 3),
        ([nan, nan, 1], {"patience": 2}, 2),
        ([1, 2, 2, 9], {"patience": 1, "mode": "max"}, 3),
        ([5, 4.9, 4.8, 1], {"patience": 2, "min_delta": 0.5}, 3),
        ([4, 3, 2, 1], {"patience": 1}, 4),
    ],
)
def test_training_ends_once_the_metric_has_not_improved_for_patience_epochs(
    make_trainer, values, options, epochs
):
    trainer = make_trainer(EarlyStopping(**options), Says(*values))

    trainer.fit(epochs=len(values))

    assert trainer.epoch == epochs


def test_the_run_says_why_it_stopped(make_trainer):
    trainer = make_trainer(
        named={
            "early_stopping": EarlyStopping("accuracy", patience=2, mode="max"),
            "says": Says(0.5, 0.4, 0.3, name="accuracy"),
        }
    )

    trainer.fit(epochs=9)

    reason = "early_stopping: accuracy has not risen above 0.5 for 2 epochs"
    assert trainer.stop_reason == reason


def test_a_metric_that_nobody_logs_is_an_error_that_names_the_nearest(make_trainer):
    trainer = make_trainer(EarlyStopping("validation_loss"), Says(1.0))

    with pytest.raises(PluginError, match=r"`validation_loss`; .*did you mean `validation/loss`\?"):
        trainer.fit(epochs=1)


def test_a_metric_of_held_out_data_says_that_nothing_is_held_out(make_trainer):
    trainer = make_trainer(EarlyStopping("validation/loss"))

    with pytest.raises(PluginError, match=r"data that is held out: `validation: 0.2`"):
        trainer.fit(epochs=1)


def test_epochs_without_validation_do_not_count(make_trainer):
    class EverySecondEpoch(Says):
        @hookimpl
        def on_evaluate(self, trainer, epoch):
            if epoch % 2 == 0:
                trainer.log(self.name, self.values[epoch - 1])

    says = EverySecondEpoch(0, 5, 0, 5, 0, 5, 0, 5)
    trainer = make_trainer(EarlyStopping(patience=2), says, validation=[])

    trainer.fit(epochs=8)

    assert trainer.epoch == 6


def test_a_resumed_run_has_not_forgotten_how_long_it_waited(make_trainer):
    values = [5, 4, 4, 4, 4]
    first = make_trainer(EarlyStopping(patience=2), Says(*values))
    first.fit(epochs=3)

    second = make_trainer(EarlyStopping(patience=2), Says(*values))
    second.load_state_dict(first.state_dict())
    second.fit(epochs=5)

    assert second.epoch == 4
