"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Modes(Check):
    """Not written yet."""
