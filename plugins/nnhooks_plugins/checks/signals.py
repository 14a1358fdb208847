"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Signals(Check):
    """Not written yet."""
