"""Problems: what is wrong with a recipe, where, and what was meant instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from nnhooks.recipe.nodes import Place


@dataclass(frozen=True)
class Problem:
    """One mistake at one place.

    `code` is its kind (unknown-setting, wrong-type, missing, ...); `path` is the setting as written
    in an override (`optimizer.lr`); `hint` says what to do about it, a line each.
    """

    code: str
    message: str
    place: Place
    path: str = ""
    hint: str = ""
    suggestion: str | None = None
    known: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The source as it is shown."""
        return self.place.source.shown

    @property
    def line(self) -> int:
        """The line, counted from 1."""
        return self.place.line

    @property
    def column(self) -> int:
        """The first column, counted from 1."""
        return self.place.column

    @property
    def end_column(self) -> int:
        """The column after the last."""
        return self.place.end_column


class RecipeError(Exception):
    """All the mistakes found in a recipe."""

    def __init__(self, problems: Iterable[Problem], recipe: str = "") -> None:
        self.problems = in_file_order(problems)
        self.recipe = recipe or self.problems[0].file
        super().__init__("; ".join(problem.message for problem in self.problems))


def in_file_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems by line and column, file by file; those of the command line go last."""
    found = list(dict.fromkeys(problems))
    sources = list(dict.fromkeys(problem.place.source for problem in found))
    sources.sort(key=lambda source: source.path is None)
    return sorted(found, key=lambda one: (sources.index(one.place.source), one.line, one.column))


def unknown(
    message: str, place: Place, name: str, known: Sequence[str], *, path: str, code: str
) -> Problem:
    """Return the problem of a name that is none of the known ones, with the nearest of them."""
    near = nearest(name, known)
    return Problem(code, message, place, path, choices(near, known), near, tuple(known))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is spelt most like this one, if any is close."""
    by_lower = {one.lower(): one for one in known}
    near = get_close_matches(name.lower(), list(by_lower), 1, 0.6)
    return by_lower[near[0]] if near else None


def choices(near: str | None, known: Sequence[str], most: int = 12) -> str:
    """Return the hint line that offers the nearest name, then the names there are."""
    listed = ", ".join(known[:most]) + (", ..." if len(known) > most else "")
    if not near:
        return f"it has: {listed}" if listed else ""
    return f"did you mean `{near}`?" + (f" it has: {listed}" if len(known) <= most else "")


def listing(words: Sequence[str], last: str = "and") -> str:
    """Return words as prose: a, b and c."""
    return (
        f" {last} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
    )
