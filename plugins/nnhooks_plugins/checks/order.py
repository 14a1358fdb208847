"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Order(Check):
    """Not written yet."""
