"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Direction(Check):
    """Not written yet."""
