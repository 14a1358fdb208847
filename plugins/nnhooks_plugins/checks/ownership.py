"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Ownership(Check):
    """Not written yet."""
