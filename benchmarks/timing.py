"""Timing candidates side by side in one process: paired, shuffled, medians."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter

Candidate = Callable[[], object]


def interleaved(candidates: Mapping[str, Candidate], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each candidate in every round; each round runs all, in random order.

    The first round is not counted: it pays for imports, caches and memory.
    """
    shuffler = random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for count in range(rounds + 1):
        names = list(candidates)
        shuffler.shuffle(names)
        for name in names:
            start = perf_counter()
            candidates[name]()
            if count:
                seconds[name].append(perf_counter() - start)
    return seconds


def table(seconds: Mapping[str, list[float]], base: str, per: int, unit: str) -> str:
    """Return a table: median microseconds per `unit`, and the median of the ratios to `base`."""
    lines = [f"{'':32}{'us/' + unit:>12}{'ratio':>9}"]
    for name, times in seconds.items():
        ratio = median(a / b for a, b in zip(times, seconds[base], strict=True))
        lines.append(f"{name:32}{median(times) / per * 1e6:12.1f}{ratio:9.3f}")
    return "\n".join(lines)
