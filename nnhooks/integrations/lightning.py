"""Checks inside Lightning: `Trainer(callbacks=[Checks()])`; what they find is in `.findings`."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as lightning

from nnhooks.findings import Finding
from nnhooks.watching.opening import watch
from nnhooks.watching.watch import Watch


class Checks(lightning.Callback):
    """Watches a Lightning run for silent mistakes; takes what `nnhooks.watch` takes.

    Batches are looked into where they are (inputs, target); other shapes are only passed on.
    """

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        self.findings: list[Finding] = []
        self.watch: Watch | None = None

    def on_train_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Begin to watch: the optimizers are there, and restored if this run resumes."""
        told = {"accumulate": trainer.accumulate_grad_batches, "epochs": trainer.max_epochs}
        self.watch = watch(
            pl_module, trainer.optimizers, **{**told, **self.facts}, tell=self.findings.append
        )
        self.watch.__enter__()
        self.watch.train()

    def on_train_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Show a batch before it is used."""
        if self.watch and isinstance(batch, tuple | list) and len(batch) == 2:
            self.watch.batch(*batch)

    def on_validation_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Say that what follows is evaluation."""
        if self.watch:
            self.watch.evaluate()

    def on_validation_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Say that training goes on."""
        if self.watch:
            self.watch.train()

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Say that every batch has been used."""
        if self.watch:
            self.watch.epoch_end()

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Draw the conclusions, and leave nothing behind."""
        self.close()

    def on_exception(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        exception: BaseException,
    ) -> None:
        """Leave nothing behind after an error either."""
        self.close()

    def close(self) -> None:
        """Watch no longer."""
        if self.watch:
            self.watch.__exit__(None, None, None)
            self.watch = None
