"""The training loop: fit -> epoch -> step. Everything optional is a plugin."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge
from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks.data import Batch, DataError, draws_randomness, grouped, one_epoch, shape, weighted
from nnhooks.findings import Finding
from nnhooks.hookspecs import Outcome
from nnhooks.plugins import PluginManager
from nnhooks.state import State, capture, random_state, restore, set_random_state


class Interrupted(KeyboardInterrupt):
    """Raised between two steps, as `Trainer.interrupt` asks for; Ctrl-C may come anywhere."""


class Trainer:
    """Trains a model on batches of (inputs, target) and tells plugins about every moment of it.

    `optimizer` is called with the model's parameters once plugins have had their `on_setup`.
    `accumulate` is how many batches make up one step; "epoch" is all of them. Plugins are called
    in the order given; a mapping gives them the names under which their state is kept.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        batches: Iterable[Batch],
        *,
        validation: Iterable[Batch] | None = None,
        accumulate: Annotated[int, Ge(1)] | Literal["epoch"] = 1,
        plugins: Iterable[object] | Mapping[str, object] = (),
        folder: Path = Path(),
    ) -> None:
        self.model, self.loss, self.make_optimizer = model, loss, optimizer
        self.batches, self.validation = batches, validation
        self.accumulate, self.folder = accumulate, folder

        self.epochs = self.epoch = self.step = self.batches_used = 0
        self.is_main = True  # of several processes, the one that prints and writes
        self.metrics: dict[str, float] = {}
        self.findings: list[Finding] = []
        self.stop_reason = self.skip_reason = self.interrupt_reason = ""
        self.epoch_random: State | None = None
        self.resumed_random: State | None = None

        self.plugins = PluginManager(plugins)
        self.hook = self.plugins.live
        try:
            self.hook.on_setup(trainer=self)  # may replace the model, so the optimizer comes after
        except BaseException as error:
            self._locate(error)
            raise
        self.optimizer = self.make_optimizer(self.model.parameters())

    def fit(self, epochs: int) -> None:
        """Train until `epochs` epochs are done in all, or a plugin asks to stop."""
        self.epochs, self.stop_reason, self.interrupt_reason = epochs, "", ""
        try:
            self.hook.on_fit_start(trainer=self)
            if self.resumed_random:
                set_random_state(self.resumed_random)
                self.resumed_random = None
            while (self.epoch < epochs or self.batches_used) and not self.stop_reason:
                self.train_epoch()
        except BaseException as error:
            self._locate(error)
            self._end("interrupted" if isinstance(error, KeyboardInterrupt) else "failed", error)
            raise
        self._end("stopped" if self.stop_reason else "completed", None)

    def train_epoch(self) -> None:
        """Use every batch once; of an epoch that was interrupted, those that are left."""
        hook = self.hook
        self.model.train()
        if not self.batches_used:
            self.epoch, self.metrics = self.epoch + 1, {}
            hook.on_epoch_start(trainer=self, epoch=self.epoch)

        window = None if self.accumulate == "epoch" else self.accumulate
        for batches in grouped(self._batches_left(), window):
            self.step, self.skip_reason = self.step + 1, ""
            self.batches_used += len(batches)
            hook.on_step_start(trainer=self, batches=batches)
            self.train_step(batches)
            hook.on_step_end(trainer=self)
            if self.interrupt_reason:
                raise Interrupted(self.interrupt_reason)
            if self.stop_reason:
                break

        if not self.batches_used:
            used_up = " (a generator is used up after one)" if self.epoch > 1 else ""
            raise DataError(f"epoch {self.epoch} got no batch{used_up}: nothing to train on")
        hook.on_evaluate(trainer=self, epoch=self.epoch)
        self.batches_used = 0
        hook.on_epoch_end(trainer=self, epoch=self.epoch, metrics=self.metrics)

    def train_step(self, batches: Sequence[Batch]) -> None:
        """Move the parameters once, on one batch or on several whose gradients add up."""
        model, loss_fn, optimizer, hook = self.model, self.loss, self.optimizer, self.hook

        optimizer.zero_grad()
        hook.after_zero_grad(trainer=self)

        for inputs, target, share in weighted(batches):
            hook.before_forward(trainer=self, inputs=inputs)
            output = model(inputs)
            hook.after_forward(trainer=self, inputs=inputs, output=output)

            loss = loss_fn(output, target)
            hook.after_loss(trainer=self, output=output, target=target, loss=loss)

            loss.backward(share)
            hook.after_backward(trainer=self, loss=loss)

        hook.before_optimizer_step(trainer=self)
        if not self.skip_reason:
            optimizer.step()
        hook.after_optimizer_step(trainer=self, skipped=self.skip_reason)

    def log(self, name: str, value: float) -> None:
        """Tell every plugin a measured value; `metrics` keeps the last of each name."""
        self.metrics[name] = value
        self.hook.on_log(trainer=self, name=name, value=value)

    def report(self, finding: Finding) -> None:
        """Tell every plugin what a check has found; `findings` keeps them all."""
        self.findings.append(finding)
        self.hook.on_finding(trainer=self, finding=finding)

    def stop(self, reason: str) -> None:
        """Train no further once this step is done; the epoch is closed as usual."""
        self.stop_reason = self._signed(reason)

    def skip(self, reason: str) -> None:
        """Leave the parameters alone in this step."""
        self.skip_reason = self._signed(reason)

    def interrupt(self, reason: str) -> None:
        """Raise Interrupted once this step is done; the epoch stays open, to be resumed."""
        self.interrupt_reason = reason

    def state_dict(self) -> State:
        """Return all a run needs to go on bit for bit; take it between steps, not inside one."""
        return capture(self)

    def load_state_dict(self, state: State) -> list[str]:
        """Go on from this state at the next `fit`; return what of it found no place, in words."""
        self.resumed_random = state["random"]
        return restore(self, state)

    def _batches_left(self) -> Iterator[Batch]:
        """Return the batches that the epoch has still to use, in the order it began with."""
        if not self.batches_used:
            self.epoch_random = random_state() if draws_randomness(self.batches) else None
            return one_epoch(self.batches, self.epoch)
        now = random_state()
        if self.epoch_random:
            set_random_state(self.epoch_random)
        batches = one_epoch(self.batches, self.epoch, self.batches_used)
        set_random_state(now)  # reading again what was used already has drawn from it
        return batches

    def _end(self, outcome: Outcome, error: BaseException | None) -> None:
        """Let every plugin end, each by itself; the first error stays the one that is raised."""
        errors = self.plugins.call_each("on_fit_end", trainer=self, outcome=outcome, error=error)
        first = error or (errors.pop(0) if errors else None)
        for other in errors:
            message = "; ".join([f"{type(other).__name__}: {other}", *other.__notes__])
            first.add_note(f"while ending, also: {message}")  # type: ignore[union-attr]
        if first is not error and first is not None:
            raise first

    def _signed(self, reason: str) -> str:
        """Put the name of the plugin that speaks before its reason."""
        frames = [frame for frame, _ in traceback.walk_stack(sys._getframe())]
        speaker = self.plugins.speaker(reversed(frames))
        return f"{speaker[0]}: {reason}" if speaker else reason

    def _locate(self, error: BaseException) -> None:
        """Note on an error where it happened: plugin and hook, epoch and step, shapes."""
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        if speaker := self.plugins.speaker(frames):
            error.add_note("in plugin `{}`, hook `{}`".format(*speaker))
        if self.step:
            error.add_note(f"in epoch {self.epoch}, step {self.step}")
        for frame in frames:
            if frame.f_code is type(self).train_step.__code__:
                names = [n for n in ("inputs", "output", "target", "loss") if n in frame.f_locals]
                known = [f"{name} {shape(frame.f_locals[name])}" for name in names]
                if known:
                    error.add_note(f"with {', '.join(known)}")
                if "loss" in names and not can_go_backward(frame.f_locals["loss"]):
                    error.add_note("the loss should be one number, in a tensor with a gradient")


def can_go_backward(loss: object) -> bool:
    """Say whether `backward` can be called on this."""
    return isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad
