"""What a run says while it runs, in plain PyTorch:

for epoch in range(1, epochs + 1):
    ...
    print(f"epoch={epoch}/{epochs} loss={total / samples:.4f}", flush=True)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from math import ceil
from textwrap import wrap
from time import monotonic
from typing import TYPE_CHECKING

from nnhooks import Finding, Outcome, Trainer, hookimpl

if TYPE_CHECKING:
    from rich.table import Table

EPOCHS = 50  # about as many are printed; of more, only every so many
WIDTH = 80
LEAST = 40  # columns beside the head of a block; if there are fewer, the text goes below it
WORDS = {"error": "FAIL", "warning": "WARN", "note": "NOTE", "not_run": "SKIP", "ok": "OK"}
STYLES = {"FAIL": "bold red", "WARN": "yellow", "OK": "green"}  # beside the word, not instead


class Console:
    """Prints the metrics of each epoch, findings as they come, and how the run ended.

    On a terminal it is a table above a progress bar; elsewhere plain ASCII lines, each written at
    once. Of long runs about fifty epochs are printed. No step waits for it: the bar looks at the
    trainer a few times a second, and nobody has to tell it.
    """

    def __init__(self) -> None:
        self.view = Lines()
        self.started = monotonic()
        self.printed = 0
        self.begun = -1  # the step before the epoch that began last

    @hookimpl(tryfirst=True)  # others report from their on_fit_start
    def on_fit_start(self, trainer: Trainer) -> None:
        self.started, self.printed = monotonic(), trainer.epoch
        if trainer.is_main and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            self.view = Screen(trainer)

    @hookimpl
    def on_epoch_start(self, trainer: Trainer) -> None:
        self.begun = trainer.step

    @hookimpl
    def on_epoch_end(self, trainer: Trainer, epoch: int) -> None:
        every = ceil(trainer.epochs / EPOCHS)
        if epoch % every == 0 or epoch in (1, trainer.epochs):
            self.show_epoch(trainer)

    @hookimpl
    def on_finding(self, trainer: Trainer, finding: Finding) -> None:
        if trainer.is_main:
            name = finding.rule or finding.check
            self.view.block(f"{WORDS[finding.level]:<5} {name:<15} ", said(finding))

    @hookimpl(trylast=True)  # others report and print in their on_fit_end
    def on_fit_end(self, trainer: Trainer, outcome: Outcome, error: BaseException | None) -> None:
        is_open = trainer.batches_used > 0 or trainer.step == self.begun
        epochs = trainer.epoch - is_open
        if self.printed < epochs:
            self.show_epoch(trainer)
        self.view.close()
        if trainer.is_main:
            done = summary(trainer, epochs, monotonic() - self.started)
            self.view.block(f"{outcome:<11} ", [done, *reason(trainer, error)])

    def show_epoch(self, trainer: Trainer) -> None:
        """Print the metrics of the epoch that has just been closed."""
        self.printed = trainer.epoch
        if trainer.is_main:
            metrics = trainer.metrics
            loss_first = {name: metrics[name] for name in sorted(metrics, key="loss".__ne__)}
            self.view.epoch(trainer.epoch, trainer.epochs, loss_first)


class Lines:
    """Plain lines, for files, pipes and whatever is no terminal."""

    width = WIDTH

    def __init__(self) -> None:
        self.widths: dict[str, int] = {}

    def write(self, text: str, style: str = "") -> None:
        """Print one line of plain ASCII, at once."""
        print(text.encode("ascii", "backslashreplace").decode(), flush=True)

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Print the metrics of an epoch, one below the other as far as they go."""
        line = f"epoch={epoch:>{len(str(epochs))}}/{epochs}"
        for name, value in metrics.items():
            self.widths[name] = max(self.widths.get(name, 0), len(number(value)))
            line += f" {name}={number(value):>{self.widths[name]}}"
        self.write(line)

    def block(self, head: str, paragraphs: list[str]) -> None:
        """Print paragraphs beside a head, whose first word is the one to be searched for."""
        style = STYLES.get(head.split()[0], "bold")
        if self.width < len(head) + LEAST:
            self.write(head.rstrip(), style)
            head, style = "  ", ""
        for paragraph in "\n".join(paragraphs).splitlines():
            indent = " " * (len(paragraph) - len(paragraph.lstrip()))
            width = self.width - len(head)
            for line in wrap(printable(paragraph), width, subsequent_indent=indent):
                self.write(head + line, style)
                head, style = " " * len(head), ""

    def close(self) -> None:
        """Leave the place as a shell wants it."""


class Screen(Lines):
    """A table that grows above a progress bar, on a terminal."""

    def __init__(self, trainer: Trainer) -> None:
        from rich.console import Console as Terminal
        from rich.live import Live

        super().__init__()
        self.trainer, self.started, self.start = trainer, monotonic(), progress(trainer)
        self.columns: list[str] = []
        self.terminal = Terminal(highlight=False)
        self.width = self.terminal.width
        self.live = Live(get_renderable=self.bar, console=self.terminal, transient=True)
        self.live.start()

    def write(self, text: str, style: str = "") -> None:
        """Print one line; the style is that of its first word."""
        from rich.text import Text

        line = Text(text)
        line.stylize(style, 0, len(text.split(" ", 1)[0]))
        self.terminal.print(line)

    def epoch(self, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """Print a row of the table, below a new header if there is a new metric."""
        new = [name for name in metrics if name not in self.columns]
        self.columns += new
        widths = {"epoch": max(5, len(str(epochs)))}
        widths |= {name: max(8, len(name)) for name in self.columns}
        if sum(widths.values()) + 2 * len(self.columns) > self.width:
            super().epoch(epoch, epochs, metrics)
            return
        row = {"epoch": str(epoch)} | {name: number(value) for name, value in metrics.items()}
        if new:
            self.write("  ".join(f"{name:>{width}}" for name, width in widths.items()))
        self.write("  ".join(f"{row.get(name, ''):>{width}}" for name, width in widths.items()))

    def bar(self) -> Table:
        """Return the progress bar as it is now; the terminal asks, from a thread of its own."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        epochs, done = self.trainer.epochs, progress(self.trainer)
        pace = (monotonic() - self.started) / (done - self.start) if done > self.start else 0
        table = Table.grid(padding=(0, 1))
        table.add_row(
            f"epoch {min(int(done) + 1, epochs)}/{epochs}",
            ProgressBar(epochs, done, width=self.width // 2, complete_style="blue"),
            f"{100 * done / epochs:.0f} %" if epochs else "",
            f"{clock(pace * (epochs - done))} left" if pace else "",
        )
        return table

    def close(self) -> None:
        """Take the bar away."""
        self.live.stop()


def said(finding: Finding) -> list[str]:
    """Return what a finding says: where and what, with which evidence, and the way out."""
    step = f"step {finding.step}" if finding.step else ""
    where = ", ".join(filter(None, [step, finding.place]))
    way_out = f"way out: {finding.way_out}" if finding.way_out else ""
    return [f"{where}: {finding.message}" if where else finding.message, finding.evidence, way_out]


def summary(trainer: Trainer, epochs: int, seconds: float) -> str:
    """Return how far a run has come, in which time, and how many findings of each kind it has."""
    levels = [finding.level for finding in trainer.findings]
    steps = "1 step" if trainer.step == 1 else f"{trainer.step} steps"
    done = f"{epochs} of {trainer.epochs} epochs, {steps}, {clock(seconds)}"
    kinds = [f"{levels.count(level)} {WORDS[level]}" for level in WORDS if level in levels]
    return "; ".join([done, ", ".join(kinds)] if kinds else [done])


def reason(trainer: Trainer, error: BaseException | None) -> list[str]:
    """Return why a run ended before its time, if it did."""
    if isinstance(error, KeyboardInterrupt):
        return [str(error) or "by Ctrl-C"]
    if error:  # all of it comes with the traceback, or whatever stands for that
        return [f"{type(error).__name__}: {error}".partition("\n")[0]]
    return [trainer.stop_reason]


def progress(trainer: Trainer) -> float:
    """Return how many epochs are done, with the share of the one that runs, if it has a length."""
    if not trainer.batches_used:
        return trainer.epoch
    try:
        share = trainer.batches_used / len(trainer.batches)  # type: ignore[arg-type]
    except (TypeError, ZeroDivisionError):  # a stream has no length
        share = 0.0
    return trainer.epoch - 1 + min(share, 1.0)


def number(value: float) -> str:
    """Write a number with 4 decimals, or in powers of ten where those would not show it."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e6 else f"{value:.3e}"


def clock(seconds: float) -> str:
    """Write a duration: seconds, or from a minute on h:mm:ss."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def printable(text: str) -> str:
    """Return a text from elsewhere without what would command the terminal."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
