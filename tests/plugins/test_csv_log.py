"""The CSV log: a table pandas reads, whole at any time, and the same after a resume."""

from math import inf, nan

import pandas as pd
import pytest

from nnhooks import hookimpl
from nnhooks_plugins.csv_log import CsvLog


class Says:
    """Logs `accuracy` each epoch, and `late` from the third epoch on."""

    @hookimpl
    def on_evaluate(self, trainer, epoch):
        trainer.log("accuracy", epoch / 3)
        if epoch > 2:
            trainer.log("late, with a comma", -inf if epoch == 3 else nan)


class Interrupt:
    @hookimpl
    def on_step_end(self, trainer):
        if trainer.step == 7:
            trainer.interrupt("enough for now")


def test_each_epoch_is_a_row_and_a_new_name_a_new_column(make_trainer, tmp_path):
    make_trainer(CsvLog(), Says(), folder=tmp_path).fit(epochs=4)

    frame = pd.read_csv(tmp_path / "metrics.csv")
    assert list(frame) == ["epoch", "step", "accuracy", "late, with a comma"]
    assert frame.step.tolist() == [3, 6, 9, 12]
    assert frame.accuracy.tolist() == [1 / 3, 2 / 3, 1, 4 / 3]
    assert frame.iloc[:, 3].tolist() == pytest.approx([nan, nan, -inf, nan], nan_ok=True)


def test_the_file_is_whole_after_every_epoch(make_trainer, tmp_path):
    lengths = []

    class Reads:
        @hookimpl(trylast=True)
        def on_epoch_end(self):
            lengths.append(len(pd.read_csv(tmp_path / "metrics.csv")))

    make_trainer(Reads(), CsvLog(), Says(), folder=tmp_path).fit(epochs=4)

    assert lengths == [1, 2, 3, 4]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_resumed_run_leaves_the_same_file_as_one_that_never_stopped(make_trainer, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    make_trainer(CsvLog(), Says(), folder=whole).fit(epochs=4)
    first = make_trainer(CsvLog(), Says(), Interrupt(), folder=broken)
    with pytest.raises(KeyboardInterrupt):
        first.fit(epochs=4)
    state = first.state_dict()
    first.fit(epochs=4)  # rows, and a column, that the state knows nothing of

    second = make_trainer(CsvLog(), Says(), folder=broken)
    second.load_state_dict(state)
    second.fit(epochs=4)

    same = [(folder / "metrics.csv").read_bytes() for folder in (whole, broken)]
    assert same[0] == same[1]


def test_a_new_run_begins_a_new_file(make_trainer, tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,step\n7,8\n")

    make_trainer(CsvLog(), folder=tmp_path).fit(epochs=1)

    assert (tmp_path / "metrics.csv").read_text() == "epoch,step\n1,3\n"


def test_only_the_main_process_writes(make_trainer, tmp_path):
    trainer = make_trainer(CsvLog(), folder=tmp_path)
    trainer.is_main = False

    trainer.fit(epochs=1)

    assert not list(tmp_path.iterdir())
