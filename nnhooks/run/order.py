"""What a run is ordered with: its recipe, and the plugins that come along with every run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from nnhooks.recipe import Along, Recipe, read

ALONG = Along(first=("device",), last=("loss", "console", "jsonl_log"))
FULL = "recipe.full.yaml"  # what a run keeps of its recipe, filled in


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
    if not silent:
        return read(file, overrides, unset, along)
    quiet = replace(along, last=tuple(name for name in along.last if name != "console"))
    recipe = read(file, overrides, unset, replace(quiet, without=()))
    own = recipe.root.get("plugins", "console")
    kept = {name for name in without if name != "console" or own}
    names = kept | {"console"} if own and own.value is not False else kept
    return read(file, overrides, unset, replace(quiet, without=tuple(sorted(names))))
