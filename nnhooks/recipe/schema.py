"""Schema: what a recipe looks like from above, before any name in it is looked up."""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib.metadata import entry_points
from typing import Annotated, Any

from annotated_types import Ge, Le

from nnhooks.recipe.nodes import Node, Place
from nnhooks.recipe.problems import Problem, listing, nearest, unknown
from nnhooks.recipe.scalars import described, shown
from nnhooks.recipe.shaping import PLUGIN, SECTIONS
from nnhooks.recipe.values import checked

TOP = ("name", "extends", "seed", *SECTIONS, "plugins", "expect")
REQUIRED = ("data", "model", "loss", "optimizer", "trainer")
CLASSLESS = ("data", "trainer")  # sections with a class of their own: Table and Trainer
SEED = Annotated[int, Ge(0), Le(2**63 - 1)]
EPOCHS = Annotated[int, Ge(1)]
NAME = re.compile(r"[^\W_.-][\w .-]*")  # it becomes the name of a folder


def problems_of(root: Node) -> list[Problem]:
    """Return what is wrong with a recipe at first sight."""
    found = [problem for name in root.items for problem in _top(name, root.items[name])]
    missing = [name for name in REQUIRED if name not in root.items]
    if missing:
        message = f"the recipe needs {listing([f'`{name}`' for name in missing])}"
        found.append(Problem("missing", message, root.place))
    return found + _trainer(root) + _plugins(root) + _nested(root)


def _top(name: Any, node: Node) -> list[Problem]:
    if name in SECTIONS:
        return _section(name, node)
    if name == "seed":
        return checked(node, SEED, name)[1]
    if name == "name":
        return _name(node)
    if name == "plugins" or str(name).startswith("x-"):
        return []
    message = f"a recipe has no setting `{name}`"
    place = node.key or node.place
    problem = unknown(message, place, str(name), TOP, path=str(name), code="unknown-setting")
    return [problem]


def _name(node: Node) -> list[Problem]:
    _, problems = checked(node, str, "name")
    if not problems and isinstance(node.value, str) and not NAME.fullmatch(node.value):
        hint = "it names a folder: letters, digits, spaces, and . _ -"
        message = f"`name` should be a plain name, got {shown(node.value)}"
        return [Problem("wrong-type", message, node.place, "name", hint)]
    return problems


def _section(name: str, node: Node) -> list[Problem]:
    if not isinstance(node.value, dict):
        hint = (
            ""
            if name == "trainer"
            else f"write `{name}: Name`, or `{name}:` with `class: Name` below"
        )
        message = f"`{name}` should be a mapping, got {described(node.value)}"
        return [Problem("wrong-type", message, node.place, name, hint)]
    if "class" in node.items or name in CLASSLESS:
        return []
    message = f"`{name}` needs `class`"
    return [Problem("missing", message, node.key or node.place, name, "it says what to build")]


def _nested(root: Node) -> list[Problem]:
    """Return every `class` that is no text, and every setting that is no word, however deep."""
    found = []
    for name, node in root.items.items():
        for one in node.walk() if name in (*SECTIONS, "plugins") else ():
            written = one.get("class")
            if written and (not isinstance(written.value, str) or not written.value):
                message = f"`class` should be a name, got {described(written.value)}"
                hint = "such as AdamW, torch.optim.AdamW or model.py:Model"
                found.append(Problem("wrong-type", message, written.place, "class", hint))
    return found


def _trainer(root: Node) -> list[Problem]:
    trainer = root.get("trainer")
    if trainer is None or not isinstance(trainer.value, dict):
        return []
    epochs = trainer.get("epochs")
    if epochs is None:
        hint = "how long to train is never implied"
        place = trainer.key or trainer.place
        return [Problem("missing", "`trainer` needs `epochs`", place, "trainer.epochs", hint)]
    return checked(epochs, EPOCHS, "trainer.epochs")[1]


def _plugins(root: Node) -> list[Problem]:
    plugins = root.get("plugins")
    if plugins is None or not plugins.items:
        return []
    installed = sorted(entry.name for entry in entry_points(group="nnhooks.plugins"))
    return [
        problem
        for name, node in plugins.items.items()
        for problem in _plugin(str(name), node, installed)
    ]


def no_such_plugin(name: str, installed: Collection[str], place: Place, path: str) -> Problem:
    """Return the problem of a plugin that is not installed."""
    near = nearest(name, installed)
    hint = f"did you mean `{near}`?" if near else "`nnhooks plugins` lists those installed"
    message = f"no installed plugin is called `{name}`"
    return Problem("no-such-plugin", message, place, path, hint, near, tuple(installed))


def _plugin(name: str, node: Node, installed: Collection[str]) -> list[Problem]:
    path = f"plugins.{name}"
    if node.value is False:
        return []
    if not isinstance(node.value, dict):
        message = f"`{path}` should be a mapping of options, got {described(node.value)}"
        return [Problem("wrong-type", message, node.place, path, f"a plugin is {PLUGIN}")]
    if "class" in node.value or name in installed:
        return []
    return [no_such_plugin(name, installed, node.key or node.place, path)]
