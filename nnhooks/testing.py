"""What a plugin's own tests need: `pytest_plugins = ["nnhooks.testing"]` brings the fixtures."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD

from nnhooks.hookspecs import HOOKS, HookSpecs, hookimpl
from nnhooks.plugins import PluginManager
from nnhooks.trainer import Trainer


class Recorder:
    """A plugin that listens to every hook and writes down each call with its arguments."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, SimpleNamespace]] = []
        for hook in HOOKS:
            setattr(self, hook, hookimpl(self._writer(hook)))

    @property
    def moments(self) -> list[str]:
        """The names of the hooks called so far, in order."""
        return [hook for hook, _ in self.calls]

    def of(self, hook: str) -> list[SimpleNamespace]:
        """The arguments of each call of one hook: `recorder.of("after_loss")[0].loss`."""
        return [arguments for name, arguments in self.calls if name == hook]

    def _writer(self, hook: str) -> Callable[..., None]:
        names = list(inspect.signature(getattr(HookSpecs, hook)).parameters)[1:]

        def write(**arguments: Any) -> None:
            self.calls.append((hook, SimpleNamespace(**arguments)))

        # pluggy reads argument names from the code itself, so it has to be written with them
        passed = ", ".join(f"{name}={name}" for name in names)
        writer: Callable[..., None] = eval(
            f"lambda {', '.join(names)}: write({passed})", {"write": write}
        )
        return writer


@pytest.fixture
def recorder() -> Recorder:
    """A plugin that writes down every hook call."""
    return Recorder()


@pytest.fixture
def plugins() -> PluginManager:
    """An empty plugin manager; it discovers nothing, only what the test registers is there."""
    return PluginManager()


@pytest.fixture
def make_trainer() -> Callable[..., Trainer]:
    """A function that builds a small Trainer, the same one each time: 3 batches of 4 samples.

    `make_trainer(plugin, ..., trainer=Trainer, **options)`; options are the Trainer's own.
    """

    def make(*plugins: object, trainer: type[Trainer] = Trainer, **options: Any) -> Trainer:
        torch.manual_seed(0)
        options.setdefault("batches", [(torch.randn(4, 2), torch.randn(4, 1)) for _ in range(3)])
        options.setdefault("model", nn.Linear(2, 1))
        options.setdefault("loss", nn.functional.mse_loss)
        options.setdefault("optimizer", partial(SGD, lr=0.1))
        return trainer(plugins=options.pop("named", plugins), **options)

    return make
