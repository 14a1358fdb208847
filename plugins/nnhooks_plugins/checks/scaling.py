"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Scaling(Check):
    """Not written yet."""
