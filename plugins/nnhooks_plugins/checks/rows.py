"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Rows(Check):
    """Not written yet."""
