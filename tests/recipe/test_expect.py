"""`expect:`: what a recipe says should be so goes to the plugin `checks`, which it brings along."""

import pytest

from nnhooks.recipe import RecipeError, read
from nnhooks.recipe.nodes import plain

RECIPE = """
data: {rows: [[1, 2], [3, 4]]}
model: {class: Linear, in_features: 1, out_features: 1}
loss: MSELoss
optimizer: SGD
trainer: {epochs: 1}
expect: {frozen: [bias], classes: 3}
"""


@pytest.fixture
def recipe(tmp_path):
    def written(more=""):
        (tmp_path / "recipe.yaml").write_text(RECIPE + more)
        return tmp_path / "recipe.yaml"

    return written


def test_expect_brings_the_checks_along_and_is_their_option(recipe):
    root = read(recipe()).root

    assert plain(root.get("plugins", "checks")) == {"expect": {"frozen": ["bias"], "classes": 3}}
    assert root.get("expect") is None


def test_expect_joins_what_is_said_to_the_checks_already(recipe):
    root = read(recipe("plugins: [{checks: {without: [rows]}}]\n")).root

    assert plain(root.get("plugins", "checks")).keys() == {"without", "expect"}


def test_expect_can_be_changed_from_the_command_line(recipe):
    root = read(recipe(), ["expect.classes=4"]).root

    assert root.get("plugins", "checks", "expect", "classes").value == 4


def test_expecting_in_two_places_is_a_mistake(recipe):
    with pytest.raises(RecipeError) as raised:
        read(recipe("plugins: [{checks: {expect: {classes: 2}}}]\n"))

    assert "`expect` is said twice" in raised.value.problems[0].message
