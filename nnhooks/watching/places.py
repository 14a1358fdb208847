"""Places: which line of the user's own code is speaking."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from types import FrameType

INSTALLED = tuple({*sysconfig.get_paths().values(), "<"})  # Python's own, and packages
PASSED_OVER = {"torch", "nnhooks", "pluggy"}


def own_line(package: str) -> str:
    """Return `file:line` of the innermost frame of the user's own code.

    That is neither torch's nor ours, nor of the `package` that judges; nor of any installed one,
    unless nothing else is on the stack.
    """
    others = [
        frame
        for frame in stack()
        if top(frame) not in {*PASSED_OVER, package} and frame.f_code.co_filename[0] != "<"
    ]
    own = [frame for frame in others if not frame.f_code.co_filename.startswith(INSTALLED)]
    speaking = next(iter(own or others), None)
    return f"{shown(speaking.f_code.co_filename)}:{speaking.f_lineno}" if speaking else ""


def stack() -> Iterator[FrameType]:
    """Yield the frames of the stack, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def top(frame: FrameType) -> str:
    """Return the top-level package that a frame's code belongs to."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def shown(file: str) -> str:
    """Return a path from the current directory where it lies below it."""
    return file.removeprefix(os.getcwd() + os.sep)
