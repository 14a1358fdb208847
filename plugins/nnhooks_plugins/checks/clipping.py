"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Clipping(Check):
    """Not written yet."""
