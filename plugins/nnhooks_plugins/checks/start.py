"""Not written yet."""

from __future__ import annotations

from nnhooks import Check


class Start(Check):
    """Not written yet."""
