"""Every moment of a PyTorch loop that a check may look at, whoever owns the loop.

    on_start
        on_optimizer                    once for each, when it is built or first steps
        on_batch                        where the loop tells: Trainer, watch.batch
        on_loader  on_fetched  on_exhausted     of a DataLoader, whoever iterates over it
        before_forward  after_forward   a model is called: a module that no other module calls
            after_module                each module inside it                       } only while
        after_function                  each call of a torch function with tensors  } inspecting
        before_backward  after_backward
        after_zero_grad  after_clip  after_scale  after_unscale
        before_step  after_step         of an optimizer
        after_schedule
        after_state_dict  after_load  after_save    whoever calls them
        on_epoch_end  on_metric  on_saved  on_loaded
    on_end

The first steps of each optimizer and every so-manieth after are *inspected*: then modules,
functions and the graph can be looked into; functions also in the first evaluations. All else is
told always, so it has to be cheap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer


class Events:
    """What a check may implement; each moment does nothing until it is."""

    def on_start(self) -> None:
        """Watching begins; `self.watch` knows what the loop has told of itself."""

    def on_optimizer(self, optimizer: Optimizer) -> None:
        """An optimizer is seen for the first time."""

    def on_phase(self, phase: str) -> None:
        """Whoever owns the loop says what comes now: "train" or "evaluate"."""

    def on_batch(self, inputs: Any, target: Any) -> None:
        """A batch is about to be used."""

    def on_loader(self, loader: Any) -> None:
        """A DataLoader begins to give batches."""

    def on_fetched(self, loader: Any, batch: Any) -> None:
        """A DataLoader has given a batch."""

    def on_exhausted(self, loader: Any) -> None:
        """A DataLoader has no more batches."""

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        """A model is about to be called."""

    def after_forward(self, model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """A model has answered."""

    def after_module(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """A module inside a model has answered; only while inspecting."""

    def after_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        """A torch function has been called with tensors; only while inspecting."""

    def before_backward(self, losses: Sequence[Tensor]) -> None:
        """Backward is about to go through the graph of these; `self.watch.graph` is it."""

    def after_backward(self, losses: Sequence[Tensor]) -> None:
        """Backward has added to gradients."""

    def after_zero_grad(self, optimizer: Optimizer) -> None:
        """`zero_grad` was called; the gradients themselves tell whether it did anything."""

    def after_clip(self, parameters: Sequence[Tensor], limit: float, norm: Tensor | None) -> None:
        """Gradients were clipped to `limit`; `norm` is what they were (None: by value)."""

    def after_scale(self, scaler: Any, losses: Any) -> None:
        """A GradScaler has scaled a loss."""

    def after_unscale(self, scaler: Any, optimizer: Optimizer) -> None:
        """A GradScaler has unscaled the gradients of an optimizer."""

    def before_step(self, optimizer: Optimizer) -> None:
        """An optimizer is about to use its gradients; nothing has moved yet."""

    def after_step(self, optimizer: Optimizer) -> None:
        """An optimizer has stepped."""

    def after_schedule(self, scheduler: Any) -> None:
        """A learning rate scheduler has stepped."""

    def after_state_dict(self, module: nn.Module, state: Any) -> None:
        """`state_dict` was called; its tensors are the module's own, not copies."""

    def after_load(self, module: nn.Module, state: Any, report: Any) -> None:
        """`load_state_dict` has put a state into a module, with this report."""

    def after_save(self, content: Any) -> None:
        """`torch.save` has written this."""

    def on_epoch_end(self) -> None:
        """Whoever owns the loop says that every batch has been used."""

    def on_metric(self, name: str, value: float, output: Any, target: Any) -> None:
        """Whoever owns the loop says what was measured, and on what."""

    def on_saved(self, state: Any) -> None:
        """Whoever owns the loop has kept this as a checkpoint."""

    def on_loaded(self, report: Any) -> None:
        """Whoever owns the loop has loaded a state dict, with this report."""

    def on_end(self) -> None:
        """Watching is over."""


EVENTS = tuple(name for name in vars(Events) if not name.startswith("_"))
