"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Schedule(Check):
    """Not written yet."""
