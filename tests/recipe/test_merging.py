"""Extending: what a recipe takes from its bases, and what it replaces."""

from nnhooks.recipe import load, read
from nnhooks.recipe.nodes import plain


def test_a_block_without_class_merges_and_one_with_class_replaces(write, recipe_text):
    write(recipe_text, "base.yaml")
    write("extends: base.yaml\noptimizer: {momentum: 0.9}\nmodel: {class: Bilinear}\nloss: L1Loss")

    root = plain(read("recipe.yaml").root)

    assert root["optimizer"] == {"class": "SGD", "lr": 0.1, "momentum": 0.9}
    assert root["model"] == {"class": "Bilinear"}
    assert root["loss"] == {"class": "L1Loss"}
    assert "extends" not in root


def test_lists_replace(write, recipe_text):
    write(recipe_text, "base.yaml")
    write("extends: base.yaml\ndata: {rows: [[0, 0, 0]]}\n")

    assert plain(read("recipe.yaml").root)["data"] == {"rows": [[0, 0, 0]], "batch_size": 2}


def test_plugins_merge_by_name_and_new_ones_go_last(write, recipe_text):
    plugins = "plugins:\n- accuracy\n- loss: {every: 2}\n- console\n"
    write(recipe_text + plugins, "base.yaml")
    write("extends: base.yaml\nplugins: [a: {class: x.py:A}, loss: {other: 3}, accuracy: false]")

    named = plain(read("recipe.yaml").root)["plugins"]

    assert list(named) == ["accuracy", "loss", "console", "a"]
    assert named["loss"] == {"every": 2, "other": 3}
    assert named["accuracy"] is False


def test_a_bare_name_keeps_the_options_of_the_base_and_switches_on(write, recipe_text):
    write(recipe_text + "plugins: [loss: {every: 2}, accuracy: false]\n", "base.yaml")
    write("extends: base.yaml\nplugins: [loss, accuracy]\n")

    assert plain(read("recipe.yaml").root)["plugins"] == {"loss": {"every": 2}, "accuracy": {}}


def test_of_several_bases_the_last_counts_most(write, recipe_text):
    write(recipe_text, "one.yaml")
    write("seed: 1\ntrainer: {epochs: 5}\n", "two.yaml")
    write("extends: [one.yaml, two.yaml]\nname: both\n")

    recipe = read("recipe.yaml")

    assert (recipe.name, recipe.seed) == ("both", 1)
    assert recipe.root.get("trainer", "epochs").value == 5
    assert [source.name for source in recipe.sources] == ["recipe.yaml", "one.yaml", "two.yaml"]


def test_paths_start_from_the_file_they_are_written_in(write, recipe_text):
    base = recipe_text.replace("loss: MSELoss", "loss: loss.py:squared")
    write(base, "bases/base.yaml")
    write("extends: bases/base.yaml\nmodel: net.py:Net\n")

    recipe = read("recipe.yaml")

    assert recipe.local_files == {
        "loss.py": recipe.path.parent / "bases" / "loss.py",
        "net.py": recipe.path.parent / "net.py",
    }


def test_local_files_of_the_same_name_are_told_apart(write, recipe_text):
    text = recipe_text.replace("loss: MSELoss", "loss: a/net.py:f")
    write(text.replace("model: {class: Linear", "model: {class: b/net.py:Net"))

    files = read("recipe.yaml").local_files

    assert list(files) == ["net.py", "net_2.py"]
    assert [path.parent.name for path in files.values()] == ["a", "b"]


def test_a_diamond_of_bases_is_no_circle(write, recipe_text):
    write(recipe_text, "top.yaml")
    write("extends: top.yaml\nseed: 1\n", "left.yaml")
    write("extends: top.yaml\n", "right.yaml")
    write("extends: [left.yaml, right.yaml]\n")

    assert load("recipe.yaml").problems == []
