"""Everything a run needs to go on, bit for bit, as if it had never been interrupted."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

if TYPE_CHECKING:
    from nnhooks.trainer import Trainer

State = dict[str, Any]


@runtime_checkable
class Stateful(Protocol):
    """A plugin with something to remember; numbers, text, tensors, lists and dicts only."""

    def state_dict(self) -> State: ...
    def load_state_dict(self, state: State) -> None: ...


def capture(trainer: Trainer) -> State:
    """Return the state of a run between two steps, fit for `torch.load(weights_only=True)`."""
    return {
        "model": bare(trainer.model).state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "progress": {
            "epoch": trainer.epoch,
            "step": trainer.step,
            "batches_used": trainer.batches_used,
            "metrics": dict(trainer.metrics),
        },
        "random": random_state(),
        "epoch_random": trainer.epoch_random,
        "plugins": {name: plugin.state_dict() for name, plugin in stateful(trainer).items()},
    }


def restore(trainer: Trainer, state: State) -> list[str]:
    """Put a captured state back; return what of it found no place, in words."""
    bare(trainer.model).load_state_dict(state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    for name, value in state["progress"].items():
        setattr(trainer, name, value)
    trainer.epoch_random = state["epoch_random"]

    plugins, saved = stateful(trainer), dict(state["plugins"])
    for name in plugins.keys() & saved.keys():
        plugins[name].load_state_dict(saved[name])
    return [
        *(f"plugin `{name}` is new and starts fresh" for name in plugins if name not in saved),
        *(
            f"plugin `{name}` is gone, and its state unused"
            for name in saved
            if name not in plugins
        ),
    ]


def stateful(trainer: Trainer) -> dict[str, Stateful]:
    """Return the plugins that have something to remember, by their recipe names."""
    plugins = trainer.plugins.by_name()
    return {name: plugin for name, plugin in plugins.items() if isinstance(plugin, Stateful)}


def bare(model: nn.Module) -> nn.Module:
    """Return the model inside the wrapper that makes it distributed: names must not change."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def random_state() -> State:
    """Return where the global random generators of Python, NumPy and torch stand."""
    kind, keys, *rest = cast(tuple[Any, ...], np.random.get_state())
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def set_random_state(state: State) -> None:
    """Put the global random generators back to where they stood."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
