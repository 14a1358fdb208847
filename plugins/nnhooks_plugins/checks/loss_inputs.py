"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class LossInputs(Check):
    """Not written yet."""
