"""The JSON lines log: what a line says, and that a resumed run goes on with the same file."""

import json
from math import inf, nan

import pandas as pd
import pytest

from nnhooks import hookimpl
from nnhooks_plugins.jsonl_log import JsonlLog


class Says:
    """Logs a value in every step, and one at the end of each epoch."""

    @hookimpl
    def before_optimizer_step(self, trainer):
        trainer.log("in_step", trainer.step / 2)

    @hookimpl
    def on_evaluate(self, trainer, epoch):
        trainer.log("accuracy", epoch / 10)


class Interrupt:
    def __init__(self, step):
        self.step = step

    @hookimpl
    def on_step_end(self, trainer):
        if trainer.step == self.step:
            trainer.interrupt("enough for now")


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_each_epoch_is_a_line_with_all_its_metrics(make_trainer, tmp_path):
    make_trainer(JsonlLog(), Says(), folder=tmp_path).fit(epochs=2)

    assert lines(tmp_path) == [
        {"epoch": 1, "step": 3, "in_step": 1.5, "accuracy": 0.1},
        {"epoch": 2, "step": 6, "in_step": 3.0, "accuracy": 0.2},
    ]


def test_each_step_is_a_line_with_its_loss_and_what_was_logged_in_it(
    make_trainer, recorder, tmp_path
):
    make_trainer(JsonlLog(every="step"), Says(), recorder, folder=tmp_path).fit(epochs=1)

    losses = [call.loss.item() for call in recorder.of("after_loss")]
    assert lines(tmp_path) == [
        *(
            {
                "every": "step",
                "epoch": 1,
                "step": step,
                "loss": losses[step - 1],
                "in_step": step / 2,
            }
            for step in (1, 2, 3)
        ),
        {"epoch": 1, "step": 3, "in_step": 1.5, "accuracy": 0.1},
    ]


def test_the_loss_of_a_step_of_several_batches_is_their_mean(make_trainer, recorder, tmp_path):
    log = JsonlLog(every="step")
    make_trainer(log, recorder, folder=tmp_path, accumulate="epoch").fit(epochs=1)

    losses = [call.loss.item() for call in recorder.of("after_loss")]
    assert lines(tmp_path)[0]["loss"] == pytest.approx(sum(losses) / 3)


def test_nan_and_infinity_stay_valid_json_and_numbers_to_pandas(make_trainer, tmp_path):
    class Explodes:
        @hookimpl
        def on_evaluate(self, trainer, epoch):
            trainer.log("loss", [1.5, nan, inf, -inf][epoch - 1])

    make_trainer(JsonlLog(), Explodes(), folder=tmp_path).fit(epochs=4)

    assert [line["loss"] for line in lines(tmp_path)] == [1.5, "NaN", "Infinity", "-Infinity"]
    loss = pd.read_json(tmp_path / "metrics.jsonl", lines=True).loss
    assert loss.tolist() == pytest.approx([1.5, nan, inf, -inf], nan_ok=True)


@pytest.mark.parametrize("every", ["epoch", "step"])
@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_a_resumed_run_leaves_the_same_file_as_one_that_never_stopped(
    make_trainer, tmp_path, every, stop_at
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    make_trainer(JsonlLog(every=every), Says(), folder=whole).fit(epochs=3)
    first = make_trainer(JsonlLog(every=every), Says(), Interrupt(stop_at), folder=broken)
    with pytest.raises(KeyboardInterrupt):
        first.fit(epochs=3)
    state = first.state_dict()
    with (broken / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 7, "step": 99}\n{"half a li')  # what a killed run may leave behind

    second = make_trainer(JsonlLog(every=every), Says(), folder=broken)
    second.load_state_dict(state)
    second.fit(epochs=3)

    same = [(folder / "metrics.jsonl").read_bytes() for folder in (whole, broken)]
    assert same[0] == same[1]


def test_a_new_run_begins_a_new_file_and_a_longer_one_goes_on(make_trainer, tmp_path):
    (tmp_path / "metrics.jsonl").write_text("of an older run\n")
    trainer = make_trainer(JsonlLog(), folder=tmp_path)

    trainer.fit(epochs=1)
    trainer.fit(epochs=2)

    assert [line["epoch"] for line in lines(tmp_path)] == [1, 2]


def test_only_the_main_process_writes(make_trainer, tmp_path):
    trainer = make_trainer(JsonlLog(every="step"), folder=tmp_path)
    trainer.is_main = False

    trainer.fit(epochs=1)

    assert not list(tmp_path.iterdir())


def test_a_log_by_epochs_is_not_called_in_the_step(make_trainer):
    trainer = make_trainer(JsonlLog())

    assert not {"on_step_start", "after_loss"} & vars(trainer.hook).keys()
