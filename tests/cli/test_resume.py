"""Signals and `--resume`: a run that was interrupted goes on, and ends as if it had not been."""

import json
import signal
import time

import pytest

RECIPE = """
# A line through four points, with a checkpoint.
data:
  rows: [[1, 3], [2, 5], [3, 7], [4, 9]]
  features: [0]
  label: [1]
  batch_size: 1
  shuffle: true
model: {class: slow.py:Line}
loss: MSELoss
optimizer: {class: Adam, lr: 0.05}
trainer: {epochs: 12}
plugins:
  - checkpoint
"""

MODEL = """
import time

import torch
from torch import nn


class Line(nn.Linear):
    def __init__(self, pause: float = 0.0) -> None:
        super().__init__(1, 1)
        self.pause = pause

    def forward(self, x):
        time.sleep(self.pause)
        return super().forward(x)
"""


@pytest.fixture
def line(here):
    """A folder with a recipe whose steps can be made to take their time."""
    (here / "line.yaml").write_text(RECIPE)
    (here / "slow.py").write_text(MODEL)
    return here


@pytest.fixture
def interrupted(process, line):
    """Start a slow run, send it signals once it trains, and return the ended process."""

    def interrupt(*signals, pause=0.1, changes=()):
        changes = (f"model.pause={pause}", "trainer.epochs=1000", *changes)
        run = process("run", "line.yaml", *changes, cwd=line)
        wait_for(lambda: list(line.glob("runs/line/*/metrics.jsonl")))
        time.sleep(0.2)
        for number in signals:
            run.send_signal(number)
            time.sleep(0.3)
        run.out, run.err = run.communicate(timeout=60)
        return run

    return interrupt


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def only_run(root):
    [folder] = (root / "runs" / "line").iterdir()
    return folder


def record(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_ends_the_run_after_its_step_with_the_code_of_the_signal(
    interrupted, line, number, code
):
    run = interrupted(number)

    facts = record(only_run(line))
    assert run.returncode == code, run.err
    assert (facts["outcome"], facts["exit_code"]) == ("interrupted", code)
    assert "to go on: nnhooks run line.yaml --resume" in run.out
    assert "Traceback" not in run.err


def test_a_second_signal_ends_the_run_inside_its_step(interrupted, line):
    began = time.monotonic()

    run = interrupted(signal.SIGINT, signal.SIGINT, pause=30, changes=["data.batch_size=4"])

    assert run.returncode == 130
    assert time.monotonic() - began < 25, "the step takes 30 seconds"
    assert record(only_run(line))["outcome"] == "interrupted"


def test_a_signal_before_the_first_step_leaves_no_run_behind(process, line):
    (line / "slow.py").write_text(MODEL.replace("self.pause = pause", "time.sleep(60)"))
    run = process("run", "line.yaml", cwd=line)
    wait_for(lambda: list(line.glob("runs/line/*")))

    time.sleep(0.5)
    run.terminate()

    _, err = run.communicate(timeout=60)
    assert run.returncode == 143
    assert "interrupted before the first step" in err
    assert not (line / "runs").exists()


def test_a_resumed_run_ends_with_the_numbers_of_one_that_was_never_interrupted(
    interrupted, nnhooks, line
):
    changes = ["model.pause=0.05", "trainer.epochs=12"]
    interrupted(signal.SIGTERM, changes=changes)
    folder = only_run(line)
    before = record(folder)

    result = nnhooks("run", "line.yaml", "--resume")
    nnhooks("run", "line.yaml", "-o", "whole")

    [whole] = (line / "whole" / "line").iterdir()
    assert (before["outcome"], result.exit_code) == ("interrupted", 0), result.output
    assert 0 < before["step"] < record(folder)["step"] == 48
    assert record(folder)["metrics"] == record(whole)["metrics"]
    assert (folder / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert record(folder)["started"] == before["started"]
    assert len(record(folder)["resumed"]) == 1


def test_a_finished_run_goes_on_with_more_epochs_in_its_own_folder(nnhooks, line):
    nnhooks("run", "line.yaml", "optimizer.lr=0.01")
    folder = only_run(line)

    for words in (["line.yaml", "--resume"], ["--resume", "line.yaml"], [folder, "--resume"]):
        done = nnhooks("run", *words)
        assert (done.exit_code, "nothing to do" in done.output) == (0, True), done.output
    result = nnhooks("run", "line.yaml", "--resume", folder.name, "trainer.epochs=14")

    facts = record(only_run(line))
    assert result.exit_code == 0, result.output
    assert facts["epoch"] == 14
    assert facts["overrides"] == ["optimizer.lr=0.01", "trainer.epochs=14"]


def test_a_changed_recipe_does_not_go_on_and_says_what_changed(nnhooks, line):
    nnhooks("run", "line.yaml")
    (line / "line.yaml").write_text(RECIPE.replace("0.05", "0.5"))

    result = nnhooks("run", "line.yaml", "--resume", "trainer.epochs=6")

    assert result.exit_code == 3
    assert "optimizer.lr: 0.05 then, 0.5 now" in result.stderr
    assert "trainer.epochs: 12 then, 6 now" in result.stderr
    assert record(only_run(line))["epoch"] == 12


def test_a_model_file_that_has_changed_is_told(nnhooks, line):
    nnhooks("run", "line.yaml")
    (line / "slow.py").write_text(f"{MODEL}\n# changed")

    result = nnhooks("run", "line.yaml", "--resume", "trainer.epochs=13")

    assert result.exit_code == 0
    assert "note: slow.py has changed since the run" in result.stderr


def test_a_run_without_checkpoints_says_how_to_get_some(nnhooks, line):
    nnhooks("run", "line.yaml", "--without", "checkpoint")

    result = nnhooks("run", "line.yaml", "--resume")

    assert result.exit_code == 3
    assert "add `- checkpoint` to the plugins" in result.stderr


def test_a_run_under_way_is_left_alone_and_one_that_was_killed_goes_on(process, nnhooks, line):
    run = process("run", "line.yaml", "model.pause=0.05", cwd=line)
    wait_for(lambda: list(line.glob("runs/line/*/checkpoints/step-*-epoch-*")))

    refused, during = nnhooks("run", "line.yaml", "--resume"), nnhooks("runs")
    run.kill()
    run.communicate()
    after = nnhooks("runs")
    resumed = nnhooks("run", "line.yaml", "--resume")

    assert refused.exit_code == 1
    assert "is still under way" in refused.stderr
    assert "running" in during.stdout
    assert "killed" in after.stdout
    assert (resumed.exit_code, record(only_run(line))["epoch"]) == (0, 12), resumed.output


def test_signal_handlers_are_put_back(nnhooks, line):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    nnhooks("run", "line.yaml")

    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
