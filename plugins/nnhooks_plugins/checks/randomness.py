"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Randomness(Check):
    """Not written yet."""
