"""Half precision, without touching the loop.

In plain PyTorch:

    scaler = torch.amp.GradScaler(device)         # for float16 only
    ...
    with torch.autocast(device, dtype):
        loss = loss_fn(model(inputs), target)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)                        # unless a gradient overflowed
    scaler.update()
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from nnhooks import Trainer, hookimpl


class MixedPrecision:
    """Runs model and loss in half precision while `fit` runs; parameters stay in full precision.

    float16 also scales the gradients, so that small ones survive; the loss, and the gradients
    others look at, are the true ones. A step whose gradients overflow is skipped.
    """

    def __init__(self, dtype: Literal["bfloat16", "float16"] = "bfloat16") -> None:
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.undo: list[Callable[[], None]] = []
        if dtype == "bfloat16":  # it has the range of float32: nothing to scale
            self.after_loss = None  # type: ignore[method-assign, assignment]
            self.before_optimizer_step = None  # type: ignore[method-assign, assignment]
            self.after_optimizer_step = None  # type: ignore[method-assign, assignment]

    @hookimpl
    def on_setup(self, trainer: Trainer) -> None:
        self.device = next(trainer.model.parameters()).device.type
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.dtype == torch.float16)

    @hookimpl
    def on_fit_start(self, trainer: Trainer) -> None:
        self.dress(trainer.model, "forward")
        self.dress(trainer, "loss")

    def dress(self, owner: Any, name: str) -> None:
        """Put a function of `owner` under autocast, until the run ends."""
        function, before = getattr(owner, name), dict(vars(owner))
        setattr(owner, name, Autocast(function, self.device, self.dtype))
        self.undo.append(
            lambda: setattr(owner, name, function) if name in before else delattr(owner, name)
        )

    @hookimpl
    def after_loss(self, loss: Tensor) -> None:
        # the gradient is scaled where it begins; the loss itself stays true
        loss.register_hook(lambda gradient: self.scaler.scale(gradient).to(gradient.dtype))

    @hookimpl(tryfirst=True)  # whoever looks at gradients next, must see true ones
    def before_optimizer_step(self, trainer: Trainer) -> None:
        self.scaler.unscale_(trainer.optimizer)
        if overflowed(trainer.optimizer):
            trainer.skip("gradients overflowed in float16")

    @hookimpl
    def after_optimizer_step(self) -> None:
        self.scaler.update()

    @hookimpl
    def on_fit_end(self) -> None:
        while self.undo:
            self.undo.pop()()

    def state_dict(self) -> dict[str, Any]:
        return self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:  # what was trained in bfloat16 has no scale to go on with
            self.scaler.load_state_dict(state)


class Autocast:
    """A function that runs under autocast.

    An object, not a closure: a deep copy of the model has to run its own forward, not ours.
    """

    def __init__(self, function: Callable[..., Any], device: str, dtype: torch.dtype) -> None:
        self.function, self.device, self.dtype = function, device, dtype

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        with torch.autocast(self.device, self.dtype):
            return self.function(*arguments, **keywords)


def overflowed(optimizer: Optimizer) -> bool:
    """Say whether a gradient is not finite; one answer for all is fetched from the device."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
    finite = [gradient.isfinite().all() for gradient in gradients if gradient is not None]
    return bool(finite) and not bool(torch.stack(finite).all())
