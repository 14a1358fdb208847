"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Frozen(Check):
    """Not written yet."""
