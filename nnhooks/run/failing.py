"""Failures: what went wrong in somebody's own code, without the frames of everybody else's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

from nnhooks.data import DataError
from nnhooks.objects.local import is_own
from nnhooks.plugins import PluginError
from nnhooks.recipe.nodes import from_here

if TYPE_CHECKING:
    from nnhooks.trainer import Trainer

MOST_SHOWN = 6  # parameters whose shapes are told
WORKER = re.compile(  # a DataLoader worker's error, which torch tells with its whole traceback
    r"Caught \w+ in (DataLoader worker process \d+)\.\n(Original Traceback .*\n)(?=\S)(.*)",
    re.DOTALL,
)
FRAME = re.compile(r'File "(.+)", line (\d+), in (.+)\n +(.+)')


def told(error: BaseException, trainer: Trainer) -> str:
    """Return an error of the training as one message: what, where, with which shapes."""
    notes = list(getattr(error, "__notes__", []))
    if any(note.startswith("with ") for note in notes):
        shapes = [f"{name} {tuple(p.shape)}" for name, p in trainer.model.named_parameters()]
        more = ", ..." if len(shapes) > MOST_SHOWN else ""
        notes.append(f"the parameters are {', '.join(shapes[:MOST_SHOWN])}{more}")
    said = summary(error).replace("\n", "\n    ")
    lines = [f"training failed: {said}", *(f"  {note}" for note in notes)]
    return "\n".join([*lines, *own_frames(error)])


def summary(error: BaseException) -> str:
    """Return the kind of an error and what it says; ours are plain sentences already."""
    if found := WORKER.match(str(error)):
        where, _, told = found.groups()
        return f"{told.strip()} (in {where})"
    if isinstance(error, DataError | PluginError):
        return str(error)
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def own_frames(error: BaseException) -> Iterator[str]:
    """Yield, for each frame of the user's own code, its place and its line."""
    frames: list[Any] = [
        (f.filename, f.lineno, f.name, f.line) for f in extract_tb(error.__traceback__)
    ]
    if found := WORKER.match(str(error)):
        frames += FRAME.findall(found[2])
    for file, line, name, text in frames:
        if is_own(file):
            yield f"  {from_here(Path(file))}:{line}, in {name}"
            yield f"    {text}"
