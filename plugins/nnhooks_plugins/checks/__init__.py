"""Checks: each file looks for one kind of silent mistake, in our Trainer or in any loop.

In plain PyTorch:

    with nnhooks.watch(model, optimizer) as watch:
        for inputs, target in batches:
            ...
    print(watch.findings)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from annotated_types import Gt, Lt

from nnhooks import Batch, Finding, Trainer, Watch, hookimpl, watch


class Checks:
    """Looks for silent mistakes while training goes on, with every installed check.

    `without` names checks to leave out, `strict` those whose first error stops the run; `expect`
    says what should be so, for exact checks; `overhead` is the share of a step to spend on them.
    """

    def __init__(
        self,
        without: Sequence[str] = (),
        strict: Sequence[str] = (),
        expect: dict[str, Any] | None = None,
        overhead: Annotated[float, Gt(0), Lt(1)] = 0.01,
    ) -> None:
        self.without, self.strict = without, strict
        self.expect, self.overhead = expect, overhead
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
            tell=partial(self.tell, trainer),
        )
        self.watch.__enter__()
        self.watch.train()

    def tell(self, trainer: Trainer, finding: Finding) -> None:
        """Report a finding; stop at an error of a check that is strict."""
        trainer.report(finding)
        if finding.level == "error" and finding.check in self.strict:
            trainer.stop(f"{finding.check}: {finding.message}")

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
