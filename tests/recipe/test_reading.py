"""Reading: YAML 1.2, every value with its place, and nothing that could hurt."""

import subprocess
import sys
from math import inf, isnan

import pytest

from nnhooks.recipe import RecipeError, load, read
from nnhooks.recipe.nodes import Source, plain
from nnhooks.recipe.reading import compose
from nnhooks.recipe.scalars import scalar, written

SCALARS = {
    "1e-3": 0.001,
    "1.": 1.0,
    "-.5": -0.5,
    "010": 10,
    "0o10": 8,
    "0x1F": 31,
    "+12": 12,
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    ".inf": inf,
    "on": "on",
    "off": "off",
    "yes": "yes",
    "no": "no",
    "y": "y",
    "1:30": "1:30",
    "2024-01-31": "2024-01-31",
    "1_000": "1_000",
    "1e": "1e",
    "None": "None",
    "=": "=",
}


def data(text):
    problems = []
    node = compose(Source("here", text), problems)
    assert not problems
    return plain(node)


@pytest.mark.parametrize(("word", "value"), SCALARS.items(), ids=SCALARS)
def test_words_mean_what_yaml_1_2_says(word, value):
    assert data(f"key: {word}") == {"key": value}
    assert type(data(f"key: {word}")["key"]) is type(value)
    assert data(f"key: '{word}'") == {"key": word}


def test_nan_is_read_and_written():
    assert isnan(scalar(".nan"))
    assert written(scalar(".nan")) == ".nan"


@pytest.mark.parametrize(
    "value",
    [
        *SCALARS.values(),
        *SCALARS,
        -inf,
        1e-300,
        2**100,
        "",
        " a ",
        "a: b",
        "a #b",
        "- a",
        "model.py:Model",
        "a\nb\t\\\"'",
        "\u2028\x85\ufeff",
        "日本 \N{GRINNING FACE}",
        [1, [2.5, "x, y"], {"a b": None, "c": [True]}],
        (1, 2),
    ],
    ids=repr,
)
def test_what_is_written_is_read_again(value):
    again = data(f"key: {written(value)}")["key"]

    assert again == (list(value) if isinstance(value, tuple) else value)
    assert data(f"[{written(value)}]") == [again]


def test_every_value_knows_where_it_stands():
    source = Source("here", "a: 1\nb:\n  c: [x, 'yz']\n")

    root = compose(source, [])
    place, key = root.get("b", "c", "1").place, root.get("b", "c").key

    assert (place.line, place.column, place.end_column) == (3, 10, 14)
    assert (key.line, key.column, key.end_column) == (3, 3, 4)


def test_lines_are_counted_as_yaml_counts_them(write):
    write().write_bytes("\ufeff# né\r\nseed: -1\rname: ''\u2028x: 1\n".encode())

    problems = load("recipe.yaml").problems

    assert [(one.line, one.column) for one in problems] == [(2, 1), (2, 7), (3, 7), (4, 1)]


def test_anchors_and_merge_keys_are_read():
    text = "x-a: &a {lr: 1, eps: 2}\nb: {<<: *a, lr: 3}\nc: {lr: 4, <<: [*a, {d: 5}]}\n"

    assert data(text)["b"] == {"lr": 3, "eps": 2}
    assert data(text)["c"] == {"lr": 4, "eps": 2, "d": 5}


def test_a_file_of_ten_megabytes_is_refused_unread(write):
    write("data: [" + "1, " * 3_500_000 + "]")

    with pytest.raises(RecipeError, match=r"recipe.yaml is larger than 1 MiB"):
        read("recipe.yaml")


def test_a_folder_is_no_recipe(tmp_path):
    with pytest.raises(RecipeError, match="is a directory"):
        read(tmp_path)


def test_keys_that_are_no_words_are_refused(write):
    write("? [a, b]\n: 1\n? {}\n: 2\n")

    problems = [one for one in load("recipe.yaml").problems if one.code == "refused"]

    assert [one.line for one in problems] == [1, 3]


def test_reading_and_checking_fast_imports_neither_torch_nor_the_users_code(write, recipe_text):
    write("raise SystemExit('my code ran')", "mine.py")
    write(recipe_text + "plugins: [mine.py:Plugin, early_stopping, dotted.mine.Other]\n")
    script = """if True:
        import sys
        opened = []
        sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
        from nnhooks.recipe import read
        print(read("recipe.yaml").name)
        heavy = {"torch", "numpy", "pandas", "rich", "nnhooks_plugins", "dotted"} & set(sys.modules)
        print(heavy or "nothing heavy", any("mine.py" in name for name in opened))
    """

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.splitlines() == ["recipe", "nothing heavy False"], done.stderr
