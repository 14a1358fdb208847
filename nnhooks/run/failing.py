"""Failures: what went wrong in somebody's own code, without the frames of everybody else's."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nnhooks.objects.local import is_own, shown

if TYPE_CHECKING:
    from nnhooks.trainer import Trainer

MOST_SHOWN = 6  # parameters whose shapes are told


def told(error: BaseException, trainer: Trainer) -> str:
    """Return an error of the training as one message: what, where, with which shapes."""
    notes = list(getattr(error, "__notes__", []))
    if any(note.startswith("with ") for note in notes):
        shapes = [f"{name} {tuple(p.shape)}" for name, p in trainer.model.named_parameters()]
        more = ", ..." if len(shapes) > MOST_SHOWN else ""
        notes.append(f"the parameters are {', '.join(shapes[:MOST_SHOWN])}{more}")
    lines = [f"training failed: {summary(error)}", *(f"  {note}" for note in notes)]
    return "\n".join([*lines, *own_frames(error)])


def summary(error: BaseException) -> str:
    """Return the kind of an error and what it says."""
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def own_frames(error: BaseException) -> Iterator[str]:
    """Yield, for each frame of the user's own code, its place and its line."""
    for frame in traceback.extract_tb(error.__traceback__):
        if is_own(frame.filename):
            yield f"  {shown(Path(frame.filename))}:{frame.lineno}, in {frame.name}"
            yield f"    {frame.line}"
