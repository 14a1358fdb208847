"""Checks inside Hugging Face's Trainer: `Trainer(..., callbacks=[Checks()])`."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from nnhooks.findings import Finding
from nnhooks.watching.opening import watch
from nnhooks.watching.watch import Watch


class Checks(TrainerCallback):
    """Watches a run of Hugging Face's Trainer for silent mistakes; findings are in `.findings`.

    It takes what `nnhooks.watch` takes. That Trainer has no event for an error: after one, call
    `close()`, or torch stays hooked until the process ends.
    """

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        self.findings: list[Finding] = []
        self.watch: Watch | None = None

    def on_train_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        """Begin to watch the model and the optimizer inside accelerate's wrapper."""
        told = {"accumulate": args.gradient_accumulation_steps, "epochs": args.num_train_epochs}
        optimizer = getattr(optimizer, "optimizer", optimizer)
        self.watch = watch(model, optimizer, **{**told, **self.facts}, tell=self.findings.append)
        self.watch.__enter__()
        self.watch.train()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say that training goes on, perhaps after an evaluation."""
        if self.watch and self.watch.phase != "train":
            self.watch.train()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say that every batch has been used, and that what may follow is evaluation."""
        if self.watch:
            self.watch.epoch_end()
            self.watch.evaluate()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Draw the conclusions, and leave nothing behind."""
        self.close()

    def close(self) -> None:
        """Watch no longer."""
        if self.watch:
            self.watch.__exit__(None, None, None)
            self.watch = None
