"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Reach(Check):
    """Not written yet."""
