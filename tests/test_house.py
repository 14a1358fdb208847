"""The house rules: who may import whom, and what the house owes its readers."""

import ast
import inspect
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import nnhooks
from nnhooks.hookspecs import HOOKS, HookSpecs
from nnhooks.trainer import Trainer

ROOT = Path(__file__).parent.parent
FLOORS = [  # a room imports only from floors below its own
    {"data", "recipe", "findings"},
    {"hookspecs", "evaluation", "tables"},
    {"plugins"},
    {"state", "watching"},
    {"trainer", "probing"},
    {"objects"},
    {"build", "editor", "integrations"},
    {"run", "testing"},
    {"cli"},
]
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
PLUGINS = sorted((ROOT / "plugins" / "nnhooks_plugins").glob("[!_]*.py"))
FRAMEWORK = sorted((ROOT / "nnhooks").rglob("*.py"))
FILES = [*FRAMEWORK, *PLUGINS]
FACE = {"__init__", "__main__"}  # of the package itself: it stands beside the floors


def room(path):
    """The room a file of nnhooks belongs to: its own name, or that of its package."""
    return path.relative_to(ROOT / "nnhooks").parts[0].removesuffix(".py")


def test_every_room_has_its_floor():
    assert {room(path) for path in FRAMEWORK} - FACE == FLOOR.keys()


@pytest.mark.parametrize(
    "path",
    [path for path in FRAMEWORK if room(path) not in FACE],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_imports_only_run_downwards(path):
    for imported in rooms_imported_by(path) - {room(path)}:
        assert FLOOR[imported] < FLOOR[room(path)], f"{path.name} imports {imported}"


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_plugins_use_only_what_everyone_may_use(path):
    assert rooms_imported_by(path) == set(), "import from nnhooks, not from inside it"


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_every_plugin_has_an_entry_point_and_a_test_file(path):
    assert path.stem in entry_points(group="nnhooks.plugins").names
    assert (ROOT / "tests" / "plugins" / f"test_{path.stem}.py").is_file()


def test_nnhooks_knows_no_plugin_package():
    for path in (ROOT / "nnhooks").rglob("*.py"):
        assert "nnhooks_plugins" not in path.read_text(), path


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_when_it_comes_and_is_tested(hook):
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))

    assert inspect.getdoc(getattr(HookSpecs, hook))
    assert hook in tests


def test_the_training_step_is_under_25_lines_and_has_its_five_verbs():
    source = inspect.getsource(Trainer.train_step)
    verbs = [
        "optimizer.zero_grad()",
        "model(inputs)",
        "loss_fn(",
        "loss.backward(",
        "optimizer.step()",
    ]

    assert len([line for line in source.splitlines() if line.strip()]) < 25
    assert [source.index(verb) for verb in verbs] == sorted(source.index(verb) for verb in verbs)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_opens_with_a_sentence_and_no_function_is_over_40_lines(path):
    tree = ast.parse(path.read_text())

    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 40, f"{path.name}: {node.name}"


def test_every_public_name_is_there_and_importing_nnhooks_imports_no_torch():
    names = ", ".join(nnhooks.__all__)

    check = "import nnhooks, sys; assert not {'torch', 'numpy', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"{check}; from nnhooks import {names}"], check=True)


def test_nothing_names_a_machine():
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    for name in filter(None, tracked):
        text = (ROOT / name).read_text(errors="replace") if (ROOT / name).is_file() else ""
        assert not re.search(r"/(home|root|work)/\w", text), name


def rooms_imported_by(path):
    """The rooms of nnhooks that a file imports when it runs; those for type hints do not count."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "nnhooks":
                found |= {alias.name for alias in node.names} & FLOOR.keys()
            elif node.module.startswith("nnhooks."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.split(".")[1]
                for alias in node.names
                if alias.name.startswith("nnhooks.")
            }
    return found
