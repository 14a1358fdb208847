"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Unused(Check):
    """Not written yet."""
