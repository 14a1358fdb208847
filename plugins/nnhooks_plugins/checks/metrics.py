"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Metrics(Check):
    """Not written yet."""
