"""What a run is ordered with: its recipe, and the plugins that come along with every run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnhooks.recipe import Along, Recipe, RecipeError, load

ALONG = Along(first=("device",), last=("loss", "console", "jsonl_log"))
FULL = "recipe.full.yaml"  # what a run keeps of its recipe, filled in


@dataclass(frozen=True)
class Order:
    """What was asked for on the command line."""

    name: str
    changes: tuple[str, ...]
    unset: tuple[str, ...]
    without: tuple[str, ...]
    out: Path
    quiet: bool
    as_json: bool
    strict: bool

    def recipe(self, file: Path) -> Recipe:
        """Read the recipe as it was ordered."""
        silent = self.quiet or self.as_json
        return ordered(file, self.changes, self.unset, self.without, silent)

    def after(self, facts: Mapping[str, Any]) -> Order:
        """Return this order with what an earlier run was ordered with before it."""
        return replace(
            self,
            changes=(*facts["overrides"], *self.changes),
            unset=(*facts["unset"], *self.unset),
            without=(*facts["without"], *self.without),
        )

    def facts(self) -> dict[str, Any]:
        """Return the order as a run's record keeps it."""
        lists = {"overrides": self.changes, "unset": self.unset, "without": self.without}
        return {name: list(words) for name, words in lists.items()}


def ordered(
    file: Path,
    overrides: Iterable[str] = (),
    unset: Iterable[str] = (),
    without: Iterable[str] = (),
    silent: bool = False,
) -> Recipe:
    """Return the recipe of a run, with what comes along; a silent run has no console.

    Raises RecipeError.
    """
    along = replace(ALONG, without=tuple(without))
    if silent:
        quiet = replace(along, last=tuple(name for name in along.last if name != "console"))
        own = load(file, overrides, unset, replace(quiet, without=())).root.get(
            "plugins", "console"
        )
        kept = {name for name in without if name != "console" or own}
        names = kept | {"console"} if own and own.value is not False else kept
        along = replace(quiet, without=tuple(sorted(names)))
    return without_mistakes(load(file, overrides, unset, along))


def without_mistakes(recipe: Recipe) -> Recipe:
    """Return the recipe, or raise RecipeError: with the mistakes that only torch can tell, too."""
    if recipe.problems:
        from nnhooks.build import check

        raise RecipeError(check(recipe), recipe.shown)
    return recipe
