"""Console: what a run says while it runs."""

import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

import pytest
import torch

from nnhooks import DataError, Finding, hookimpl
from nnhooks_plugins.console import Console
from nnhooks_plugins.loss import Loss

FINDING = Finding(
    check="gradient_order",
    level="error",
    step=2,
    message="zero_grad is missing:\n  ran         forward, backward\n  documented  zero_grad first",
    evidence="weight: 2 backward passes",
    way_out="call optimizer.zero_grad() before the forward pass, as the first thing in every step",
)
RUN = """
import torch
from functools import partial
from nnhooks import Trainer
from nnhooks_plugins.console import Console
from nnhooks_plugins.loss import Loss
torch.manual_seed(0)
batches = [(torch.ones(4, 2), torch.ones(4, 1))]
optimizer = partial(torch.optim.SGD, lr=0.1)
trainer = Trainer(
    torch.nn.Linear(2, 1), torch.nn.MSELoss(), optimizer, batches, plugins=[Loss(), Console()]
)
trainer.fit(epochs=3)
"""


def test_elsewhere_than_on_a_terminal_an_epoch_is_a_line(make_trainer, capsys):
    trainer = make_trainer(Log("accuracy", 0.5), Loss(), Console())

    trainer.fit(epochs=10)

    lines = capsys.readouterr().out.splitlines()
    loss = trainer.metrics["loss"]
    assert lines[0].startswith("epoch= 1/10 loss=")
    assert lines[9] == f"epoch=10/10 loss={loss:.4f} accuracy=0.5000"
    assert re.fullmatch(r"completed +10 of 10 epochs, 30 steps, \d+\.\d\d s", lines[10])


def test_values_stand_below_one_another(make_trainer, capsys):
    make_trainer(Log("loss", 123.0, -1.5), Log("lr", 0.1), Console()).fit(epochs=2)

    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "epoch=1/2 loss=123.0000 lr=0.1000",
        "epoch=2/2 loss= -1.5000 lr=0.1000",
    ]


def test_a_small_value_is_not_rounded_away(make_trainer, capsys):
    make_trainer(Log("lr", 0.00025), Console()).fit(epochs=1)

    assert "lr=2.500e-04" in capsys.readouterr().out


@pytest.mark.parametrize(("epochs", "lines"), [(50, 50), (120, 41), (1000, 51)])
def test_of_a_long_run_about_fifty_epochs_are_printed(make_trainer, capsys, epochs, lines):
    make_trainer(Console()).fit(epochs=epochs)

    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch=")]
    assert len(printed) == lines
    assert printed[-1].startswith(f"epoch={epochs}/{epochs}")


def test_the_last_epoch_of_a_run_that_was_stopped_is_printed(make_trainer, capsys):
    make_trainer(Stop(at=7), Console()).fit(epochs=1000)

    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines[:2]] == ["epoch=   1/1000", "epoch=   7/1000"]
    assert lines[2].startswith("stopped     7 of 1000 epochs, 21 steps, ")
    assert lines[3] == "            Stop: enough is enough"


def test_a_finding_is_printed_as_it_comes_with_evidence_and_way_out(make_trainer, capsys):
    make_trainer(Report(FINDING), Console()).fit(epochs=1)

    lines = capsys.readouterr().out.splitlines()
    assert lines[:7] == [
        "FAIL  gradient_order  step 2: zero_grad is missing:",
        "                        ran         forward, backward",
        "                        documented  zero_grad first",
        "                      weight: 2 backward passes",
        "                      way out: call optimizer.zero_grad() before the forward",
        "                      pass, as the first thing in every step",
        "epoch=1/1",
    ]
    assert lines[7].endswith("; 1 FAIL")


def test_a_failure_is_named_in_one_place(make_trainer, capsys):
    with pytest.raises(ValueError, match="broken"):
        make_trainer(Fail(), Console()).fit(epochs=3)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("failed      0 of 3 epochs, 1 step, ")
    assert lines[1] == "            ValueError: broken"


def test_an_epoch_that_got_no_batch_is_not_counted(make_trainer, capsys):
    used_up = iter([(torch.ones(1, 2), torch.ones(1, 1))])
    with pytest.raises(DataError):
        make_trainer(Console(), batches=used_up).fit(epochs=3)

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines[:2]] == ["epoch=1/3", "failed      1 of 3 epochs"]


def test_in_a_narrow_terminal_text_stands_below_its_head(make_trainer, capsys):
    console = Console()
    console.view.width = 44

    make_trainer(Report(FINDING), console).fit(epochs=1)

    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["FAIL  gradient_order", "  step 2: zero_grad is missing:"]
    assert max(map(len, lines)) <= 44


def test_an_interruption_says_who_asked(make_trainer, capsys):
    with pytest.raises(KeyboardInterrupt):
        make_trainer(Interrupt(), Console()).fit(epochs=3)

    assert "interrupted 0 of 3 epochs" in capsys.readouterr().out


def test_lines_are_plain_ascii_and_nothing_commands_the_terminal(make_trainer, capsys):
    finding = Finding(check="data", level="ok", message="gelesen: Größe \x1b]52;c;x\x07 \r2")

    make_trainer(Report(finding), Console()).fit(epochs=1)

    out = capsys.readouterr().out
    assert out.isascii()
    assert not re.search(r"[\x1b\x07\r]", out)


def test_a_process_that_is_not_the_main_one_prints_nothing(make_trainer, capsys):
    trainer = make_trainer(Report(FINDING), Console())
    trainer.is_main = False

    trainer.fit(epochs=1)

    assert capsys.readouterr().out == ""


def test_no_step_waits_for_it():
    listening = {name for name in vars(Console) if name.startswith(("on_", "after_", "before_"))}

    epochs = {"on_epoch_start", "on_epoch_end"}
    assert listening == {"on_fit_start", *epochs, "on_finding", "on_fit_end"}


def test_a_terminal_shows_a_table_and_a_bar_that_goes_away():
    output = on_a_terminal(RUN)

    assert re.search(r"epoch \d/3 .*━━━", output)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert re.search(r"\bepoch      loss\s", shown)
    assert re.search(r"    3   +\d+\.\d{4}\s", shown)
    assert shown.rstrip().splitlines()[-1].startswith("completed   3 of 3 epochs, 3 steps")


def test_a_terminal_without_colour_gets_none():
    output = on_a_terminal(RUN, NO_COLOR="1")

    assert "completed" in output
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", output)


class Log:
    """Logs these values, one an epoch; the last of them for ever."""

    def __init__(self, name, *values):
        self.name, self.values = name, values

    @hookimpl
    def on_evaluate(self, trainer, epoch):
        trainer.log(self.name, self.values[min(epoch, len(self.values)) - 1])


class Stop:
    """Stops the run after an epoch."""

    def __init__(self, at):
        self.at = at

    @hookimpl
    def on_epoch_end(self, trainer, epoch):
        if epoch == self.at:
            trainer.stop("enough is enough")


class Report:
    """Reports a finding before training."""

    def __init__(self, finding):
        self.finding = finding

    @hookimpl
    def on_fit_start(self, trainer):
        trainer.report(self.finding)


class Fail:
    """Breaks in the first step."""

    @hookimpl
    def after_loss(self):
        raise ValueError("broken")


class Interrupt:
    """Ends the run after its first step, as a signal would."""

    @hookimpl
    def on_step_end(self, trainer):
        trainer.interrupt("SIGTERM")


def on_a_terminal(script, **environment):
    """What a Python script writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    unset = {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=theirs,
        stdin=theirs,
        env=kept | {"TERM": "xterm-256color", "COLUMNS": "80"} | environment,
    )
    os.close(theirs)
    output = b""
    with suppress(OSError):  # the terminal is gone once the process has ended
        while data := os.read(ours, 4096):
            output += data
    os.close(ours)
    assert process.wait() == 0
    return output.decode()
