"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Leaves(Check):
    """Not written yet."""
