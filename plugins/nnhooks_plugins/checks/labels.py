"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Labels(Check):
    """Not written yet."""
