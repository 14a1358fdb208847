"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Broadcast(Check):
    """Not written yet."""
