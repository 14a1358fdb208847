"""Tables of text, as wide as their words, and on a terminal no wider than that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from shutil import get_terminal_size
from textwrap import wrap

LEAST = 24  # columns that the last column keeps, however narrow the terminal is
ENDLESS = 10_000  # columns where nobody looks on: a row stays one line, as `grep` wants it


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under their titles, in columns two spaces apart; the last one is wrapped."""
    cells = [list(titles), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)][:-1]
    return "\n".join(
        beside(
            "".join(f"{cell:{width}}  " for cell, width in zip(row, widths, strict=False)), row[-1]
        )
        for row in cells
    )


def beside(head: str, text: str) -> str:
    """Return text after a head; on a terminal it goes on below itself, not below the head."""
    width = get_terminal_size((ENDLESS, 0)).columns - len(head)
    lines = wrap(text, max(LEAST, width), break_on_hyphens=False) or [""]
    return head.rstrip() if lines == [""] else head + f"\n{' ' * len(head)}".join(lines)
