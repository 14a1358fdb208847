"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Memory(Check):
    """Not written yet."""
