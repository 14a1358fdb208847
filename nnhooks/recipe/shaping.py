"""Shaping: short forms become long ones, so that everything after has one form to deal with.

`optimizer: AdamW` becomes `{class: AdamW}`; the list of plugins, a mapping by name, in its order.
"""

from __future__ import annotations

import re

from nnhooks.recipe.nodes import Node, Place
from nnhooks.recipe.problems import Problem
from nnhooks.recipe.scalars import described

SECTIONS = ("data", "model", "loss", "optimizer", "scheduler", "trainer")
PLUGIN = "`- name`, `- name: {option: value}` or `- name: false`"


def shaped(root: Node, problems: list[Problem]) -> Node:
    """Return the recipe with its sections and plugins in their long form."""
    return Node(
        {name: shaped_at(name, node, problems) for name, node in root.items.items()}, root.place
    )


def shaped_at(name: str, node: Node, problems: list[Problem]) -> Node:
    """Return one top-level value in its long form."""
    if name == "plugins":
        return _plugins(node, problems)
    if name in SECTIONS and isinstance(node.value, str) and not node.value.startswith("${"):
        return Node({"class": Node(node.value, node.place)}, node.place, node.key)
    return node


def shaped_plugin(node: Node) -> Node:
    """Return one plugin's settings: a mapping, or False where it is off."""
    if node.value is None or node.value is True:
        return Node({}, node.place, node.key)
    return node


def _plugins(node: Node, problems: list[Problem]) -> Node:
    if node.value is None:
        return Node({}, node.place, node.key)
    if not isinstance(node.value, list):
        message = f"`plugins` should be a list, got {described(node.value)}"
        problems.append(Problem("wrong-type", message, node.place, "plugins", f"write {PLUGIN}"))
        return Node({}, node.place, node.key)
    named: dict[str, Node] = {}
    for item in node.value:
        _add(item, named, problems)
    return Node(named, node.place, node.key)


def _add(item: Node, named: dict[str, Node], problems: list[Problem]) -> None:
    """Add one item of the list under its name, or report it."""
    written, settings, key = item.value, Node({}, item.place, item.place), item.place
    if isinstance(written, dict) and len(written) == 1:
        (written,) = written
        given = item.items[written]
        settings, key = shaped_plugin(given), given.key or item.place
    if not isinstance(written, str) or not written:
        problems.append(Problem("wrong-type", f"a plugin is {PLUGIN}", item.place, "plugins"))
        return
    name = plugin_name(written)
    if name in named:
        again = f"to use it twice: `- other: {{class: {written}}}`"
        hint = f"first on line {_key(named[name]).line}\n{again}"
        problems.append(
            Problem(
                "written-twice", f"plugin `{name}` is written twice", key, f"plugins.{name}", hint
            )
        )
        return
    if name != written and isinstance(settings.value, dict):
        settings = Node({"class": Node(written, key), **settings.items}, settings.place, key)
    named[name] = settings


def plugin_name(written: str) -> str:
    """Return the name a plugin goes by: `throughput.py:TokensPerSecond` is `tokens_per_second`."""
    if ":" not in written and "." not in written:
        return written
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.split("[.:]", written)[-1]).lower()


def _key(node: Node) -> Place:
    return node.key or node.place
