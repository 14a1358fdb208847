"""Where the tensors live.

In plain PyTorch:

    model.to(device)
    for inputs, target in batches:
        inputs, target = inputs.to(device), target.to(device)
        ...
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nnhooks import Batch, PluginError, Trainer, did_you_mean, hookimpl, mapped


class Device:
    """Moves the model, a loss that is a module, and every batch to a device.

    `name` is "auto" (an accelerator if there is one, else the CPU), "cpu", "cuda", "cuda:1",
    "mps", ... One of several processes takes the accelerator with its LOCAL_RANK unless `name`
    says which. On the CPU batches are left as they are.
    """

    def __init__(self, name: str = "auto") -> None:
        self.name = name

    @hookimpl(tryfirst=True)  # whoever dresses the model next may ask where it is
    def on_setup(self, trainer: Trainer) -> None:
        device = pick(self.name)
        trainer.model.to(device)
        if isinstance(trainer.loss, nn.Module):
            trainer.loss.to(device)
        if device.type == "cpu":
            return
        if device.type == "cuda":
            torch.cuda.set_device(device)
        trainer.batches = mapped(trainer.batches, partial(moved, device=device))
        if trainer.validation is not None:
            trainer.validation = mapped(trainer.validation, partial(moved, device=device))


def pick(name: str) -> torch.device:
    """Return the device of this name; PluginError, naming those there are, if it is not here."""
    here = available()
    whole = here[-1].partition(":")[0] if name == "auto" else name
    if whole != "cpu" and ":" not in whole:
        whole = f"{whole}:{os.environ.get('LOCAL_RANK', 0)}"
    if whole not in here:
        there_is = f"there is: {', '.join(here)}{did_you_mean(name, here)}"
        raise PluginError(f"there is no device `{name}` here; {there_is}")
    return torch.device(whole)


def available() -> list[str]:
    """Return the names of the devices of this machine, accelerators last."""
    if not torch.accelerator.is_available():
        return ["cpu"]
    kind = torch.accelerator.current_accelerator()
    count = torch.accelerator.device_count()
    return ["cpu", *(f"{kind.type if kind else ''}:{index}" for index in range(count))]


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return the batch on the device, however its tensors are nested."""
    inputs, target = batch
    return move(inputs, device), move(target, device)


def move(value: Any, device: torch.device) -> Any:
    """Return tensors on the device, also those in tuples, lists and mappings; all else as it is."""
    if isinstance(value, Tensor):
        # of pinned memory the copy can go on while the CPU does; of other memory this waits
        return value.to(device, non_blocking=device.type == "cuda")
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(move(item, device) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(move(item, device) for item in value)
    if isinstance(value, Mapping):
        return {key: move(item, device) for key, item in value.items()}
    return value
