"""Files: a recipe's bytes become text, or one clear problem."""

from __future__ import annotations

import re
from pathlib import Path

from nnhooks.recipe.nodes import LINE_BREAK, Place, Source
from nnhooks.recipe.problems import Problem, RecipeError

LARGEST = 2**20  # bytes; a recipe is written by hand, data belongs into a file of its own
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")


def open_source(path: Path, named_at: Place | None = None, setting: str = "") -> Source:
    """Read a recipe's text; problems with the file itself are shown where it is named, if it is.

    Raises RecipeError for a file that is missing, too large, not UTF-8 or holds control characters.
    """
    path = path.absolute()
    source = Source(path.name, path=path)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        summary = str(getattr(error, "strerror", error)).lower()
        code, message = "refused", f"cannot read {source.shown}: {summary}"
        if isinstance(error, FileNotFoundError):
            code, message = "no-such-file", f"there is no file {source.shown}"
        problem = Problem(code, message, named_at or Place(source), setting)
        raise RecipeError([problem]) from None
    if len(data) > LARGEST:
        hint = "keep data in a file of its own and name it: `csv: table.csv`"
        problem = Problem(
            "refused", f"{source.shown} is larger than 1 MiB", Place(source), hint=hint
        )
        raise RecipeError([problem])
    return Source(path.name, _text(data, source), path)


def _text(data: bytes, source: Source) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8", "replace").removeprefix("\ufeff")
        place = _place(before, Source(source.name, data.decode("utf-8", "replace"), source.path))
        message = f"not UTF-8 text: byte 0x{data[error.start]:02x} at position {error.start}"
        raise RecipeError(
            [Problem("not-yaml", message, place, hint="save the file as UTF-8")]
        ) from None
    if wrong := CONTROL.search(text):
        place = _place(text[: wrong.start()], Source(source.name, text, source.path))
        message = f"not valid YAML: control character U+{ord(wrong.group()):04X}"
        raise RecipeError([Problem("not-yaml", message, place, hint="delete it")])
    return text


def _place(before: str, source: Source) -> Place:
    """Return the place of the character that follows this text."""
    lines = LINE_BREAK.split(before)
    return Place(source, len(lines), len(lines[-1]) + 1, len(lines[-1]) + 2)
