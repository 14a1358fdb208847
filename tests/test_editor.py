"""The schema for editors says what the reader says."""

from pathlib import Path

import jsonschema
import pytest

from nnhooks.editor import schema
from nnhooks.recipe.files import open_source
from nnhooks.recipe.nodes import plain
from nnhooks.recipe.reading import compose

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
MISTAKES = Path(__file__).parent / "recipe" / "mistakes"


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft7Validator.check_schema(schema())
    return jsonschema.Draft7Validator(schema())


def written(path):
    return plain(compose(open_source(path), []))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(validator, path):
    assert [error.message for error in validator.iter_errors(written(path))] == []


@pytest.mark.parametrize(
    "name",
    [
        "misspelt_key",
        "wrong_type",
        "missing_key",
        "bad_argument",
        "out_of_range",
        "wrong_choice",
        "text_for_numbers",
        "plugin_unknown",
        "plugin_installed_option",
        "scheduler_every",
        "seed_and_name",
    ],
)
def test_mistakes_are_seen_while_writing(validator, name):
    assert not validator.is_valid(written(MISTAKES / f"{name}.yaml"))


def test_what_a_base_says_need_not_be_said_again(validator):
    assert validator.is_valid({"extends": "base.yaml", "optimizer": {"lr": 0.1}, "x-any": [1]})
    assert not validator.is_valid({"optimizer": {"lr": 0.1}})


def test_an_editor_can_offer_classes_their_arguments_and_plugins(validator):
    properties = validator.schema["properties"]

    optimizer = properties["optimizer"]["anyOf"][1]
    adamw = [
        one for one in optimizer["allOf"] if one["if"]["properties"]["class"]["const"] == "AdamW"
    ]
    plugins = properties["plugins"]["items"]["anyOf"][1]["properties"]

    assert {"lr", "betas", "groups"} <= adamw[0]["then"]["properties"].keys()
    assert "params" not in adamw[0]["then"]["properties"]
    assert "metric" in str(plugins["early_stopping"]) or "monitor" in str(plugins["early_stopping"])
