"""JSON Schema of recipes, for editors: it completes names, settings and choices, and flags typos.

The shape is the one that yaml-language-server completes best: for each class an `if` on its name,
whose `then` lists its arguments. Whatever a constructor takes, its signature says.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

from nnhooks.objects.calls import signature_of
from nnhooks.objects.names import candidates
from nnhooks.objects.planning import DEFAULTS, own_settings
from nnhooks.objects.slots import PLUGIN, SLOTS, Slot
from nnhooks.plugins import PluginError, catalogue, find
from nnhooks.recipe.schema import REQUIRED, SEED
from nnhooks.recipe.signatures import Setting, expressible

Schema = dict[str, Any]

REFERENCE: Schema = {"type": "string", "pattern": r"\$\{"}
ELSEWHERE: Schema = {"type": "string", "pattern": "[.:]"}  # a dotted path, or file.py:Name
NESTED: Schema = {"type": "object", "required": ["class"]}


def schema() -> Schema:
    """Return the schema of a recipe in this environment: its torch, its plugins."""
    strict = {name: _with_default(name) for name in DEFAULTS}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "nnhooks recipe",
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "extends": {"type": ["string", "array"], "items": {"type": "string"}},
            "seed": _value(Setting("seed", SEED, 0)),
            **{name: _section(name, slot) for name, slot in SLOTS.items()},
            "plugins": _plugins(),
            "expect": {"type": "object"},
        },
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
        "if": {"required": ["extends"]},  # what the base says need not be said again
        "else": {"required": list(REQUIRED), "properties": strict},
    }


def _section(section: str, slot: Slot) -> Schema:
    """Return the schema of a section: a name, or a mapping with `class` and its arguments."""
    home = import_module(slot.namespace)
    targets = {name: getattr(home, name) for name in candidates(slot)}
    named = {"anyOf": [{"enum": list(targets)}, ELSEWHERE]}
    block = {
        "type": "object",
        "properties": {"class": named},
        "allOf": [
            {
                "if": {"properties": {"class": {"const": name}}, "required": ["class"]},
                "then": _arguments(target, slot, section),
            }
            for name, target in targets.items()
        ],
    }
    return {"anyOf": [{"type": "string", **named}, block, REFERENCE]}


def _with_default(section: str) -> Schema:
    """Return the schema of a section that needs no `class`, where it says none."""
    slot = SLOTS[section]
    target = getattr(import_module(slot.namespace), DEFAULTS[section])
    return {
        "if": {"type": "object", "not": {"required": ["class"]}},
        "then": _arguments(target, slot, section),
    }


def _arguments(target: Any, slot: Slot, section: str = "") -> Schema:
    """Return the schema of a constructor's arguments, and of what else its section may say."""
    takes = signature_of(target, slot)
    settings = {**own_settings(section, target), **takes.settings}
    properties = {name: _value(setting) for name, setting in settings.items()}
    return {
        "description": (inspect.getdoc(target) or "").split("\n")[0],
        "properties": {"class": {}, **properties},
        "required": [name for name, setting in settings.items() if setting.required],
        "additionalProperties": takes.others,
    }


def _value(setting: Setting) -> Schema:
    """Return the schema of one argument; a reference may stand for anything."""
    from pydantic import TypeAdapter

    asked = expressible(setting.annotation)
    if asked is Any:
        return {}
    asked_for = _inlined(TypeAdapter(asked).json_schema())
    default = setting.default
    plain = default is None or isinstance(default, str | int | float | bool)
    said = {"default": default} if plain else {}
    return {"anyOf": [asked_for, REFERENCE, NESTED], **said}


def _inlined(part: Any, definitions: Schema | None = None) -> Any:
    """Put definitions where they are referred to: each schema becomes part of a larger one."""
    if isinstance(part, list):
        return [_inlined(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    definitions = part.get("$defs", definitions)
    if "$ref" in part and definitions:
        return _inlined(definitions[part["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(one, definitions) for name, one in part.items() if name != "$defs"}


def _plugins() -> Schema:
    """Return the schema of the list of plugins."""
    options = {name: _plugin(name) for name in sorted(catalogue())}
    return {
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "string", "anyOf": [{"enum": list(options)}, ELSEWHERE]},
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "properties": options,
                    "patternProperties": {"[.:]": {}},
                    "additionalProperties": NESTED,
                },
            ]
        },
    }


def _plugin(name: str) -> Schema:
    """Return the schema of a plugin's options; anything, if it cannot be imported."""
    try:
        options = _arguments(find(name), PLUGIN)
    except PluginError:
        return {}
    return {"anyOf": [{"enum": [False, True, None]}, {"type": "object", **options}, NESTED]}
