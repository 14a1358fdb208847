"""Finding a recipe by the name it is called by."""

import pytest

from nnhooks.recipe import RecipeError, find_recipe
from nnhooks.recipe.finding import SHIPPED


def test_a_path_is_itself(write):
    write()

    assert str(find_recipe("recipe.yaml")) == "recipe.yaml"


def test_a_name_is_one_of_mine_or_else_one_that_comes_along(write):
    write("", "recipes/softmax_linear.yaml")

    assert str(find_recipe("softmax_linear")) == "recipes/softmax_linear.yaml"
    assert find_recipe("iris").parent in SHIPPED


def test_a_runs_folder_is_the_recipe_it_ran(write):
    write("", "run/recipe.full.yaml")

    assert str(find_recipe("run")) == "run/recipe.full.yaml"


def test_a_misspelt_name_gets_a_suggestion(write):
    write()

    with pytest.raises(RecipeError, match="there is no recipe `softmax_liner`") as error:
        find_recipe("softmax_liner")

    [problem] = error.value.problems
    assert (problem.code, problem.suggestion) == ("no-such-file", "softmax_linear")
