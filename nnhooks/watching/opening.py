"""Opening a watch: which checks look, and at what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from torch import nn
from torch.optim import Optimizer

from nnhooks.findings import Finding
from nnhooks.plugins import PluginError, did_you_mean
from nnhooks.watching.check import Check
from nnhooks.watching.watch import Watch


def watch(
    model: nn.Module | Iterable[nn.Module] = (),
    optimizer: Optimizer | Iterable[Optimizer] = (),
    *,
    data: Any = None,
    validation: Any = None,
    batch_size: int | None = None,
    shuffle: bool | None = None,
    epochs: int | None = None,
    accumulate: int | None = None,
    schedulers: Iterable[Any] = (),
    expect: Mapping[str, Any] | None = None,
    without: Iterable[str] = (),
    overhead: float = 0.01,
    tell: Callable[[Finding], None] | None = None,
) -> Watch:
    """Watch any PyTorch loop for silent mistakes: `with nnhooks.watch(model, optimizer) as watch:`.

    Everything is optional: models and optimizers are also found when they are used. `data` and
    `validation` are (inputs, target) as tensors; `accumulate` is how many backward passes make a
    step; `expect` is what should be so. What the loop tells (`watch.train()`, `watch.batch(x, y)`,
    `watch.epoch_end()`, ...) lets checks see more. `without` names checks to leave out.
    `overhead` is the share of a step that may be spent on looking. Findings are in
    `watch.findings`, and go to `tell` as they come.
    """
    facts = {
        "data": data,
        "validation": validation,
        "batch_size": batch_size,
        "shuffle": shuffle,
        "epochs": epochs,
        "accumulate": accumulate,
        "schedulers": list(schedulers),
        "expect": dict(expect or {}),
    }
    models = [model] if isinstance(model, nn.Module) else model
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else optimizer
    checks = installed_checks(without)
    return Watch(models, optimizers, checks, facts=facts, overhead=overhead, tell=tell)


def catalogue() -> dict[str, EntryPoint]:
    """Return the checks that installed packages offer, by name; none of them is imported."""
    return {entry.name: entry for entry in entry_points(group="nnhooks.checks")}


def installed_checks(without: Iterable[str] = ()) -> list[Check]:
    """Return one of each installed check, but for those named in `without`."""
    offered, left_out = catalogue(), set(without)
    for name in left_out - offered.keys():
        raise PluginError(f"no installed check is called `{name}`{did_you_mean(name, offered)}")
    return [entry.load()() for name, entry in sorted(offered.items()) if name not in left_out]
