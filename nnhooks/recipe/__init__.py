"""Recipes: read with positions, checked without torch and without running anybody's code."""

from __future__ import annotations

from nnhooks.recipe.nodes import Node, Place
from nnhooks.recipe.problems import Problem, RecipeError
from nnhooks.recipe.recipe import Recipe, load, read
from nnhooks.recipe.rendering import as_github, as_json, render

__all__ = [
    "Node",
    "Place",
    "Problem",
    "Recipe",
    "RecipeError",
    "as_github",
    "as_json",
    "load",
    "read",
    "render",
]
