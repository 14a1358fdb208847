"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Inputs(Check):
    """Not written yet."""
