"""Filling: a recipe with everything said that it left out, each value with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from nnhooks.objects.calls import Call, Value
from nnhooks.objects.planning import SCHEDULE, Plan
from nnhooks.objects.slots import PLUGINS
from nnhooks.recipe.nodes import Node, Place, Source
from nnhooks.recipe.recipe import local_file
from nnhooks.recipe.shaping import SECTIONS
from nnhooks.recipe.signatures import Setting


def filled_call(call: Call, copies: Mapping[Path, str] | None = None) -> Node:
    """Return a section with its class in full and every default written out.

    `copies` are names for the local files, where the recipe is to stand beside copies of them.
    Then a path that is a default stays unsaid: it means the folder of each run, not of this one.
    """
    settings = {"class": _name(call, copies)} if _is_named(call) else {}
    given = {**call.own, **call.arguments}
    for name in call.node.items:
        if name in given:
            settings[name] = _argument(given[name], copies)
    for name, argument in given.items():  # filled in from elsewhere, such as the seed
        settings.setdefault(name, _argument(argument, copies))
    for name, setting in call.signature.settings.items():
        elsewhere = copies is not None and isinstance(setting.default, Path)
        if name not in given and not elsewhere and (default := _default(setting, call)):
            settings[name] = default
    return Node(settings, call.node.place, call.node.key)


def _is_named(call: Call) -> bool:
    """Whether its class has to be said; an installed plugin goes by its key alone."""
    return call.slot.namespace != PLUGINS or "class" in call.node.items


def _name(call: Call, copies: Mapping[Path, str] | None) -> Node:
    name, namespace = str(call.name.value), call.slot.namespace
    if copies and (file := local_file(call.name)) and file in copies:
        name = f"{copies[file]}:{name.rpartition(':')[2]}"
    elif namespace != PLUGINS and "." not in name and ":" not in name:
        name = f"{namespace}.{name}"
    origin = call.name.place
    if "class" not in call.node.items:
        origin = Place(Source(f"{call.path} default"))
    return Node(name, origin)


def _argument(argument: Any, copies: Mapping[Path, str] | None) -> Node:
    if isinstance(argument, Call):
        return filled_call(argument, copies)
    if isinstance(argument, Value):
        node = argument.node
        if isinstance(argument.value, Path) and not argument.late:
            return Node(str(argument.value), node.place, node.key, node.written)
        return node
    if isinstance(argument, list):
        items: Any = [_argument(item, copies) for item in argument]
        return Node(items, items[0].place)
    items = {name: _argument(item, copies) for name, item in argument.items()}
    return Node(items, next(iter(items.values())).place)


def _default(setting: Setting, call: Call) -> Node | None:
    """Return a default as a node, if YAML can say it."""
    value, place = setting.default, Place(Source(f"{call.title} default"))
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, list | tuple):
        plain = all(isinstance(item, str | int | float) for item in value)
        return Node([Node(item, place) for item in value], place) if plain else None
    return Node(value, place) if value is None or type(value) in (str, int, float, bool) else None


def filled_recipe(plan: Plan, copies: Mapping[Path, str] | None = None) -> Node:
    """Return the root of a recipe with everything in it that was left out."""
    recipe, default = plan.recipe, Place(Source("nnhooks default"))
    root = {
        "name": recipe.root.get("name") or Node(recipe.name, Place(Source("name of the file"))),
        "seed": recipe.root.get("seed") or Node(recipe.seed, default),
    }
    schedule = plan.plugins.get(SCHEDULE)
    for name in SECTIONS:
        if name in plan.calls:
            root[name] = filled_call(plan.calls[name], copies)
        elif name == "scheduler" and "scheduler" in recipe.root.items and schedule:
            root[name] = _scheduler(schedule, copies)
    plugins = {
        name: filled_call(plan.plugins[name], copies) if name in plan.plugins else node
        for name, node in recipe.root.items["plugins"].items.items()
    }
    return Node({**root, "plugins": Node(plugins, recipe.root.place)}, recipe.root.place)


def _scheduler(plugin: Call, copies: Mapping[Path, str] | None) -> Node:
    """Return the plugin as the section `scheduler` that it was written as."""
    whole = filled_call(plugin, copies)
    own = {name: node for name, node in whole.items.items() if name != "schedule"}
    schedule = whole.items["schedule"]
    return Node({**schedule.items, **own}, schedule.place, schedule.key)
