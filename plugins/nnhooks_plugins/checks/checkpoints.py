"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Checkpoints(Check):
    """Not written yet."""
