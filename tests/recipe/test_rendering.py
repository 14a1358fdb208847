"""Rendering: the same problems for people, tools and GitHub."""

import json

from nnhooks.recipe import as_github, as_json, load, render


def test_no_problem_says_nothing():
    assert render([]) == ""
    assert json.loads(as_json([])) == {"ok": True, "problems": []}


def test_json_has_all_there_is_to_know(write, recipe_text):
    write(recipe_text + "optimiser: SGD\n")

    document = json.loads(as_json(load("recipe.yaml").problems))

    assert document["ok"] is False
    [problem] = document["problems"]
    assert problem.pop("known")[0] == "name"
    assert problem == {
        "file": "recipe.yaml",
        "line": 8,
        "column": 1,
        "end_column": 10,
        "path": "optimiser",
        "code": "unknown-setting",
        "message": "a recipe has no setting `optimiser`",
        "hint": "did you mean `optimizer`? it has: name, extends, seed, data, model, loss, "
        "optimizer, scheduler, trainer, plugins, expect",
        "suggestion": "optimizer",
    }


def test_github_shows_a_problem_beside_its_line(write, recipe_text):
    write(recipe_text.replace("epochs: 3", "epochs: 100%"))

    text = as_github(load("recipe.yaml").problems)

    message = "`trainer.epochs` should be a whole number, got '100%25'"
    assert text == f"::error file=recipe.yaml,line=7,col=19::{message}"


def test_a_file_elsewhere_is_shown_with_its_whole_path(write, tmp_path, monkeypatch):
    path = write("seed: -1\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")

    text = render(load(path).problems)

    assert f"--> {path}:1:7" in text
    assert text.endswith(f"2 problems in {path}; nothing was run")


def test_a_very_long_line_is_cut_around_the_mistake(write, recipe_text):
    write(recipe_text.replace("epochs: 3", "x: '" + "y" * 5000 + "', epochs: ten"))

    shown = render(load("recipe.yaml").problems).splitlines()[3:5]

    assert shown[0].endswith("y', epochs: ten}")
    assert len(shown[0]) < 140
    assert shown[0][shown[1].index("^")] == "t"
