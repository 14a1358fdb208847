"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Units(Check):
    """Not written yet."""
