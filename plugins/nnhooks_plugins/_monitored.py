"""Ask the epoch's metrics for the one that a plugin judges by."""

from __future__ import annotations

from collections.abc import Mapping

from nnhooks import PluginError, did_you_mean


def monitored(metrics: Mapping[str, float], monitor: str) -> float:
    """Return what the epoch has logged as `monitor`; PluginError, naming what there is, if not."""
    if monitor not in metrics:
        known = ", ".join(metrics) or "nothing"
        raise PluginError(
            f"nobody has logged `{monitor}`{did_you_mean(monitor, metrics)}; logged is: {known}"
        )
    return metrics[monitor]
