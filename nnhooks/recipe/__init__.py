"""Recipes: read with positions, checked without torch and without running anybody's code."""

from __future__ import annotations

from nnhooks.recipe.along import Along
from nnhooks.recipe.finding import find_recipe
from nnhooks.recipe.nodes import Node, Place
from nnhooks.recipe.problems import Problem, RecipeError
from nnhooks.recipe.recipe import Recipe, load, read
from nnhooks.recipe.rendering import as_github, as_json, render

__all__ = [
    "Along",
    "Node",
    "Place",
    "Problem",
    "Recipe",
    "RecipeError",
    "as_github",
    "as_json",
    "find_recipe",
    "load",
    "read",
    "render",
]
