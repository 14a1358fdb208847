"""Every mistake has its message; the files in golden/ hold them word for word.

`NNHOOKS_GOLDEN=write pytest tests/recipe/test_mistakes.py` writes them anew; read the difference.
"""

import os
import re
from pathlib import Path

import pytest

from nnhooks.build import check
from nnhooks.recipe import RecipeError, load, render

HERE = Path(__file__).parent
MISTAKES = sorted((HERE / "mistakes").glob("*.yaml"))


def test_all_the_mistakes_are_here():
    assert len(MISTAKES) == 82
    assert {path.stem for path in MISTAKES} == {path.stem for path in (HERE / "golden").iterdir()}


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_a_mistake_is_told_at_its_place(path, monkeypatch):
    monkeypatch.chdir(HERE / "mistakes")
    golden = HERE / "golden" / f"{path.stem}.txt"

    told = messages(path.name)

    if os.environ.get("NNHOOKS_GOLDEN") == "write":
        golden.write_text(told)
    assert told == golden.read_text()


def messages(name):
    """Return what a user sees of a recipe; its first line may hold the command line."""
    first = Path(name).read_bytes().split(b"\n")[0].decode(errors="replace")
    said = re.fullmatch("# (overrides|unset): (.*)", first)
    arguments = {said.group(1): said.group(2).split()} if said else {}
    try:
        recipe = load(name, **arguments)
        problems = check(recipe)
    except RecipeError as error:
        problems = error.problems
    return render(problems, name) + "\n"
