"""Name, shape and values of every parameter, in plain PyTorch:

for name, parameter in model.named_parameters():
    print(name, tuple(parameter.shape), parameter.detach())
"""

from __future__ import annotations

from textwrap import fill
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from nnhooks import Outcome, Trainer, hookimpl

WIDTH = 80


class ParameterPrinter:
    """Prints every parameter before and after training, and `every` epoch or step if asked to.

    A tensor of up to `whole` numbers is printed whole, to 4 decimals; a larger one is summed up,
    with its zeros and NaNs if there are any. Parameters that share a tensor are printed once.
    """

    def __init__(
        self, every: Literal["fit", "epoch", "step"] = "fit", whole: Annotated[int, Ge(0)] = 24
    ) -> None:
        self.every, self.whole = every, whole
        self.shown = 0  # the step whose parameters were printed last

    @hookimpl
    def on_fit_start(self, trainer: Trainer) -> None:
        self.show(trainer, f"after step {trainer.step}" if trainer.step else "before training")

    @hookimpl
    def on_step_end(self, trainer: Trainer) -> None:
        if self.every == "step":
            self.show(trainer, f"after step {trainer.step}")

    @hookimpl
    def on_epoch_end(self, trainer: Trainer, epoch: int) -> None:
        if self.every == "epoch":
            self.show(trainer, f"after epoch {epoch}")

    @hookimpl
    def on_fit_end(self, trainer: Trainer, outcome: Outcome) -> None:
        if trainer.step > self.shown:
            done = outcome in ("completed", "stopped")
            self.show(trainer, "after training" if done else f"at step {trainer.step}, {outcome}")

    def show(self, trainer: Trainer, when: str) -> None:
        """Print the parameters as they are now."""
        self.shown = trainer.step
        if trainer.is_main:
            print(f"Parameters {when}", *lines(trainer.model, self.whole), sep="\n", flush=True)


def lines(model: nn.Module, whole: int) -> list[str]:
    """Describe each parameter; equal signs stand below one another among those shown whole."""
    named = {title(name, parameter): parameter for name, parameter in model.named_parameters()}
    small = {text for text, parameter in named.items() if fits(parameter, whole)}
    width = max((len(text) for text in small if len(text) < WIDTH // 2), default=0)
    return [
        in_full(text.ljust(width), parameter.detach())
        if text in small
        else fill(summary(text, parameter), WIDTH, initial_indent="  ", subsequent_indent="    ")
        for text, parameter in named.items()
    ]


def title(name: str, parameter: nn.Parameter) -> str:
    """Name a parameter with its shape: `w (3, 2)`."""
    shape = "(no shape yet)" if nn.parameter.is_lazy(parameter) else tuple(parameter.shape)
    return f"{name} {shape}" if parameter.requires_grad else f"{name} {shape} frozen"


def fits(parameter: nn.Parameter, whole: int) -> bool:
    """Say whether a parameter is small enough to be printed whole."""
    return not nn.parameter.is_lazy(parameter) and parameter.numel() <= whole


def in_full(text: str, values: Tensor) -> str:
    """Return all values, in rows as they are, with room for a sign before each."""
    numbers = values.cpu().double() if values.is_floating_point() else values.cpu()
    prefix = f"  {text} = "
    below = "    " if len(prefix) > WIDTH // 2 else prefix
    array = np.array2string(
        numbers.numpy(),
        max_line_width=WIDTH,
        precision=4,
        separator=", ",
        prefix=below,
        floatmode="fixed",
        suppress_small=True,
        sign=" ",
    )
    return f"{prefix}{array}" if below is prefix else f"{prefix.rstrip()}\n{below}{array}"


def summary(text: str, parameter: nn.Parameter) -> str:
    """Sum a parameter up: how many numbers, of which type, how large."""
    if nn.parameter.is_lazy(parameter):
        return text
    values = parameter.detach()
    kind = str(values.dtype).removeprefix("torch.")
    missing, zeros = int(values.isnan().sum()), int((values == 0).sum())
    known = (values[~values.isnan()] if missing else values).float()
    said = [f"{text}: {values.numel()} {kind}"]
    if known.numel():
        low, high, norm = known.min(), known.max(), torch.linalg.vector_norm(known)
        said.append(f"{low:.4f} to {high:.4f}, mean {known.mean():.4f}, norm {norm:.4f}")
    said += [f"{zeros} zero"] * bool(zeros) + [f"{missing} NaN"] * bool(missing)
    return ", ".join(said)
