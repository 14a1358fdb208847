"""Overrides: settings from the command line."""

import pytest

from nnhooks.recipe import Along, load, read
from nnhooks.recipe.nodes import plain


def root(*overrides, unset=(), along=Along()):  # noqa: B008
    return plain(read("recipe.yaml", overrides, unset, along).root)


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("1e-3", 0.001),
        ("[0.9, 0.99]", [0.9, 0.99]),
        ("{a: 1}", {"a": 1}),
        ("a=b", "a=b"),
        ("", None),
        ("'1'", "1"),
        ("null", None),
    ],
)
def test_values_are_read_by_the_rules_of_yaml(write, said, value):
    write()

    assert root(f"optimizer.setting={said}")["optimizer"]["setting"] == value


def test_a_short_section_takes_settings_too(write):
    write()

    assert root("loss.reduction=sum")["loss"] == {"class": "MSELoss", "reduction": "sum"}
    assert root("loss=L1Loss")["loss"] == {"class": "L1Loss"}


def test_another_class_keeps_the_other_settings(write):
    write()

    assert root("optimizer.class=AdamW")["optimizer"] == {"class": "AdamW", "lr": 0.1}


def test_plugins_are_addressed_by_name(write, recipe_text):
    write(recipe_text + "plugins: [loss: {every: 1}, accuracy, console: false]\n")

    said = ["plugins.loss.every=5", "plugins.accuracy=false", "plugins.console=true"]
    plugins = root(*said, "plugins.csv_log.file=x.csv", "plugins.jsonl_log=")["plugins"]

    assert plugins == {
        "loss": {"every": 5},
        "accuracy": False,
        "console": {},
        "csv_log": {"file": "x.csv"},
        "jsonl_log": {},
    }


def test_unset_takes_a_setting_away_before_overrides_are_laid_on(write):
    write()

    assert root(unset=["optimizer.lr"])["optimizer"] == {"class": "SGD"}
    assert root("optimizer=AdamW", unset=["optimizer"])["optimizer"] == {"class": "AdamW"}


def test_a_path_on_the_command_line_starts_from_the_current_directory(write, tmp_path, monkeypatch):
    path = write()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    recipe = read(path, ["model=net.py:Net"])

    assert list(recipe.local_files.values()) == [tmp_path / "elsewhere" / "net.py"]


def test_or_from_the_recipe_if_the_file_lies_beside_it(write, tmp_path, monkeypatch):
    path = write()
    write("", "net.py")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    recipe = read(path, ["model=net.py:Net"])

    assert list(recipe.local_files.values()) == [tmp_path / "net.py"]


def test_plugins_come_along_around_those_that_are_named(write, recipe_text):
    write(recipe_text.replace("batch_size", "validation: 0.5\n  batch_size") + "plugins: [loss]\n")

    plugins = root(along=Along(("device",), ("loss", "console"), ("console",)))["plugins"]

    assert list(plugins.items()) == [
        ("device", {}),
        ("validation", {}),
        ("loss", {}),
        ("console", False),
    ]


def test_a_plugin_that_is_off_does_not_come_along(write, recipe_text):
    write(recipe_text + "plugins: [console: false]\n")

    assert root(along=Along(last=("console",)))["plugins"] == {"console": False}


def test_leaving_out_what_is_not_there_is_a_mistake(write):
    write()

    [problem] = load("recipe.yaml", along=Along(last=("console",), without=("consol",))).problems

    assert problem.suggestion == "console"
    assert problem.place.source.text == "--without consol"
