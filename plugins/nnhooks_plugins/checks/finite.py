"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Finite(Check):
    """Not written yet."""
