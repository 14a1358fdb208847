"""Train neural networks in PyTorch, see every parameter, trust every step."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnhooks.data import Batch, Batches, DataError, mapped, samples
    from nnhooks.evaluation import predictions
    from nnhooks.findings import Finding, verdict
    from nnhooks.hookspecs import HookSpecs, Outcome, hookimpl
    from nnhooks.plugins import PluginError, did_you_mean
    from nnhooks.probing.opening import probe
    from nnhooks.tables import Table
    from nnhooks.trainer import Interrupted, Trainer
    from nnhooks.watching.check import Check
    from nnhooks.watching.opening import watch
    from nnhooks.watching.watch import Watch

__version__ = "0.1.0"

_HOMES = {  # torch is imported by whoever asks for one of these, not by `import nnhooks`
    "data": ["Batch", "Batches", "DataError", "mapped", "samples"],
    "evaluation": ["predictions"],
    "findings": ["Finding", "verdict"],
    "hookspecs": ["HookSpecs", "Outcome", "hookimpl"],
    "plugins": ["PluginError", "did_you_mean"],
    "probing.opening": ["probe"],
    "tables": ["Table"],
    "trainer": ["Interrupted", "Trainer"],
    "watching.check": ["Check"],
    "watching.opening": ["watch"],
    "watching.watch": ["Watch"],
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022 (in the order of a run)
    "Trainer",
    "Table",
    "Batches",
    "Batch",
    "mapped",
    "samples",
    "predictions",
    "hookimpl",
    "HookSpecs",
    "Outcome",
    "Finding",
    "verdict",
    "DataError",
    "PluginError",
    "did_you_mean",
    "Interrupted",
    "watch",
    "Watch",
    "Check",
    "probe",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"nnhooks.{_HOME[name]}"), name)
    raise AttributeError(f"module `nnhooks` has no attribute `{name}`")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
