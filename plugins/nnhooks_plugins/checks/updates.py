"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Updates(Check):
    """Not written yet."""
