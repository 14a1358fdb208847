"""Checks: each file looks for one kind of silent mistake, in our Trainer or in any loop.

In plain PyTorch:

    with nnhooks.watch(model, optimizer) as watch:
        for inputs, target in batches:
            ...
    print(watch.findings)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnhooks import Batch, Trainer, Watch, hookimpl, watch


class Checks:
    """Looks for silent mistakes while training goes on, with every installed check.

    `without` names checks to leave out; `expect` says what should be so, for exact checks.
    """

    def __init__(
        self,
        without: Sequence[str] = (),
        expect: dict[str, Any] | None = None,
        overhead: float = 0.01,
    ) -> None:
        self.without, self.expect, self.overhead = without, expect, overhead
        self.watch: Watch | None = None

    @hookimpl(trylast=True)  # what others do to the model at the start is none of the loop's
    def on_fit_start(self, trainer: Trainer) -> None:
        accumulate = trainer.accumulate if isinstance(trainer.accumulate, int) else None
        self.watch = watch(
            trainer.model,
            trainer.optimizer,
            accumulate=accumulate,
            epochs=trainer.epochs,
            expect=self.expect,
            without=self.without,
            overhead=self.overhead,
            tell=trainer.report,
        )
        self.watch.__enter__()
        self.watch.train()

    @hookimpl
    def on_step_start(self, batches: Sequence[Batch]) -> None:
        if self.watch:
            for inputs, target in batches:
                self.watch.batch(inputs, target)

    @hookimpl(tryfirst=True)  # what is asked for now is evaluation
    def on_evaluate(self) -> None:
        if self.watch:
            self.watch.evaluate()

    @hookimpl
    def on_epoch_end(self) -> None:
        if self.watch:
            self.watch.epoch_end()
            self.watch.train()

    @hookimpl(tryfirst=True)  # others may still ask the model
    def on_fit_end(self) -> None:
        if self.watch:
            self.watch.__exit__(None, None, None)
            self.watch = None
