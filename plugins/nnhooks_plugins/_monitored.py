"""Ask an epoch's metrics for the one that a plugin judges by."""

from __future__ import annotations

from collections.abc import Iterable

from nnhooks import PluginError, Trainer, did_you_mean

HELD_OUT = "validation/"


def monitored(trainer: Trainer, monitor: str) -> float | None:
    """Return what the epoch has logged as `monitor`; None if it was an epoch without validation.

    PluginError, naming what there is, if the epoch should have logged it.
    """
    metrics = trainer.metrics
    if monitor in metrics:
        return metrics[monitor]
    if trainer.validation is not None and held_out([monitor]) and not held_out(metrics):
        return None
    hint = did_you_mean(monitor, metrics)
    if trainer.validation is None and held_out([monitor]):
        hint = "; it takes data that is held out: `validation: 0.2` in the recipe's data"
    known = ", ".join(metrics) or "nothing"
    raise PluginError(f"nobody has logged `{monitor}`; logged is: {known}{hint}")


def held_out(names: Iterable[str]) -> bool:
    """Say whether one of these metrics is measured on validation data: not every epoch has to."""
    return any(name.startswith(HELD_OUT) for name in names)
