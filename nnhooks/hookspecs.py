"""Every moment of a training run that a plugin can take part in, in the order they happen.

    on_setup                            model, loss, batches and optimizer may still be dressed
    on_fit_start
        on_epoch_start
            on_step_start
                optimizer.zero_grad()
                after_zero_grad
                for inputs, target in batches:          one, or several when accumulating
                    before_forward
                    output = model(inputs)
                    after_forward
                    loss = loss_fn(output, target)
                    after_loss
                    loss.backward()
                    after_backward
                before_optimizer_step   the gradients are whole, the parameters still old
                optimizer.step()
                after_optimizer_step
            on_step_end
        on_evaluate                     measure now, and log it
            on_validation_batch         once a validation batch, if there are any
        on_epoch_end                    the epoch's metrics are whole
    on_fit_end                          always: completed, stopped, failed or interrupted

Two moments have no place of their own: they come when a plugin speaks.

    on_log                              a value was measured: trainer.log
    on_finding                          a check has something to say: trainer.report

A plugin names only the arguments it wants: `def after_loss(self, loss)` is complete.
Return values are ignored: to change something, dress it in `on_setup`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from nnhooks.data import Batch
    from nnhooks.findings import Finding
    from nnhooks.trainer import Trainer

Outcome = Literal["completed", "stopped", "failed", "interrupted"]

hookspec = pluggy.HookspecMarker("nnhooks")
hookimpl = pluggy.HookimplMarker("nnhooks")


class HookSpecs:
    """The contract between the Trainer and its plugins."""

    # The run

    @hookspec
    def on_setup(self, trainer: Trainer) -> None:
        """Replace `trainer.model`, `.loss`, `.batches`, `.validation` or `.make_optimizer` here.

        The optimizer is made right after, from the parameters of what is the model by then.
        """

    @hookspec
    def on_fit_start(self, trainer: Trainer) -> None:
        """Training is about to begin; all is built, and restored if this run resumes another."""

    @hookspec
    def on_fit_end(self, trainer: Trainer, outcome: Outcome, error: BaseException | None) -> None:
        """Training is over, whatever happened; `error` is what ended it, or None.

        Each plugin is called by itself: one that fails here keeps no other from its end.
        """

    # The epoch

    @hookspec
    def on_epoch_start(self, trainer: Trainer, epoch: int) -> None:
        """Epoch `epoch` begins; the first is 1. Not repeated when a run resumes inside it."""

    @hookspec
    def on_evaluate(self, trainer: Trainer, epoch: int) -> None:
        """All batches of the epoch have been used: measure, and `trainer.log` what you find."""

    @hookspec
    def on_validation_batch(self, trainer: Trainer, output: Any, target: Any, loss: Tensor) -> None:
        """The model, in eval mode and without gradients, has answered a validation batch."""

    @hookspec
    def on_epoch_end(self, trainer: Trainer, epoch: int, metrics: Mapping[str, float]) -> None:
        """The epoch is over; `metrics` holds the last value of each name logged in it."""

    # The step

    @hookspec
    def on_step_start(self, trainer: Trainer, batches: Sequence[Batch]) -> None:
        """Step `trainer.step` begins, on `batches`; gradients are those of the step before."""

    @hookspec
    def after_zero_grad(self, trainer: Trainer) -> None:
        """No parameter of the optimizer has a gradient."""

    @hookspec
    def before_forward(self, trainer: Trainer, inputs: Any) -> None:
        """The next batch of the step is about to enter the model."""

    @hookspec
    def after_forward(self, trainer: Trainer, inputs: Any, output: Any) -> None:
        """The model has answered; nothing has been compared yet."""

    @hookspec
    def after_loss(self, trainer: Trainer, output: Any, target: Any, loss: Tensor) -> None:
        """`loss` is the true loss of this batch: never scaled, never divided."""

    @hookspec
    def after_backward(self, trainer: Trainer, loss: Tensor) -> None:
        """This batch has added its gradients; with accumulation more may follow."""

    @hookspec
    def before_optimizer_step(self, trainer: Trainer) -> None:
        """The gradients are whole, the parameters still old: look, clip, or `trainer.skip`."""

    @hookspec
    def after_optimizer_step(self, trainer: Trainer, skipped: str) -> None:
        """The parameters have moved, unless `skipped` says why not; gradients are still there."""

    @hookspec
    def on_step_end(self, trainer: Trainer) -> None:
        """The step is over."""

    # Anywhere

    @hookspec
    def on_log(self, trainer: Trainer, name: str, value: float) -> None:
        """A plugin has measured something; see `Trainer.log`."""

    @hookspec
    def on_finding(self, trainer: Trainer, finding: Finding) -> None:
        """A check has something to say; see `Trainer.report`."""


HOOKS = tuple(name for name in vars(HookSpecs) if not name.startswith("_"))
