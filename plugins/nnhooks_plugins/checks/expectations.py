"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Expectations(Check):
    """Not written yet."""
