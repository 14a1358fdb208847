"""Places: which line of the user's own code is speaking."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

import nnhooks

OTHERS = tuple(
    str(Path(folder).resolve()) + os.sep
    for folder in (
        Path(torch.__file__).parent,
        Path(nnhooks.__file__).parent,
        Path(nnhooks.__file__).parent.parent / "plugins",  # of an editable install
        Path(nnhooks.__file__).parent.parent / "nnhooks_plugins",  # of a wheel
        Path(os.__file__).parent / "contextlib.py",
    )
)


def own_line() -> str:
    """Return `file:line` of the innermost frame that is neither torch's, Python's nor ours."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(OTHERS) and not file.startswith("<") and "/lib/python" not in file:
            return f"{shown(file)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def shown(file: str) -> str:
    """Return a path from the current directory where it lies below it."""
    here = os.getcwd() + os.sep
    return file.removeprefix(here)
