"""Names: `AdamW`, `torch.optim.AdamW` and `model.py:Model`, each found where it says."""

from __future__ import annotations

import inspect
import os
import types
from importlib import import_module
from typing import Any

from nnhooks.objects.local import own_frames, run_file, summary
from nnhooks.objects.slots import PLUGINS, Method, Slot, refusal
from nnhooks.plugins import PluginError, catalogue, find
from nnhooks.recipe.nodes import Node, from_here
from nnhooks.recipe.problems import Problem, RecipeError, unknown
from nnhooks.recipe.recipe import local_file
from nnhooks.recipe.schema import no_such_plugin


def find_object(written: Node, slot: Slot, path: str) -> Any:
    """Return what a name means, if its slot can use it.

    Raises RecipeError for a name that leads nowhere, to broken code, or to something else.
    """
    name = str(written.value)
    if local_file(written):
        found = _in_file(written, path)
    elif "." in name or ":" in name:
        found = _dotted(written, path)
    else:
        found = _short(written, slot, path)
    if wrong := refusal(found, slot):
        message, hint = f"`{name}` is not {wrong}", ""
        if isinstance(found, Method):
            hint = f"put @staticmethod or @classmethod above `{found.function.__name__}`"
        raise RecipeError([Problem("refused", message, written.place, path, hint)])
    return found


def title_of(target: Any) -> str:
    """Return what messages call an object."""
    function = target.function if isinstance(target, Method) else target
    return str(getattr(function, "__qualname__", type(function).__name__))


def candidates(slot: Slot) -> list[str]:
    """Return the short names that fit a slot."""
    if slot.namespace == PLUGINS:
        return sorted(catalogue())
    if slot.offers:
        return list(slot.offers)
    home = import_module(slot.namespace)
    public = getattr(home, "__all__", None) or [one for one in dir(home) if one[0].isupper()]
    fitting = [name for name in public if isinstance(getattr(home, name, None), type)]
    if slot.article == "a loss":
        return [name for name in fitting if name.endswith("Loss")]
    return [
        name
        for name in fitting
        if not refusal(getattr(home, name), slot) and getattr(home, name) is not slot.base
    ]


def _short(written: Node, slot: Slot, path: str) -> Any:
    name = written.value
    if slot.namespace == PLUGINS:
        return _installed(written, path)
    if not slot.namespace:
        message = f"`{name}` says not where it comes from"
        hint = f"write a whole path: torch.nn.{name}, or file.py:{name}"
        raise RecipeError([Problem("no-such-name", message, written.place, path, hint)])
    found = getattr(import_module(slot.namespace), name, None)
    if found is None or name.startswith("_"):
        message = f"{slot.namespace} has no `{name}`"
        known = tuple(candidates(slot))
        problem = unknown(message, written.place, name, known, path=path, code="no-such-name")
        raise RecipeError([problem])
    return found


def _installed(written: Node, path: str) -> Any:
    name, place = str(written.value), written.key or written.place
    try:
        return find(name)
    except PluginError as error:
        if name not in catalogue():
            problem = no_such_plugin(name, sorted(catalogue()), place, path)
            raise RecipeError([problem]) from None
        hint = own_frames(error.__cause__ or error)
        raise RecipeError([Problem("cannot-import", str(error), place, path, hint)]) from error


def _in_file(written: Node, path: str) -> Any:
    file, name = local_file(written), str(written.value).rpartition(":")[2]
    assert file is not None
    if not os.path.isfile(file):  # which is False, too, for names that no file can have
        message = f"there is no file {from_here(file)}"
        raise RecipeError([Problem("no-such-file", message, written.place, path)])
    try:
        module = run_file(file)
    except (Exception, SystemExit) as error:
        message = f"cannot import {from_here(file)}: {summary(error)}"
        hint = own_frames(error)
        if isinstance(error, ModuleNotFoundError) and (file.parent / f"{error.name}.py").exists():
            hint += "\nonly installed packages can be imported here, not files that lie beside it"
        problem = Problem("cannot-import", message, written.place, path, hint.strip())
        raise RecipeError([problem]) from error
    return _attribute(module, name, from_here(file), written, path)


def _dotted(written: Node, path: str) -> Any:
    """Import the longest part of a dotted path that is a module; the rest are attributes."""
    steps = str(written.value).split(".")
    for length in range(len(steps), 0, -1):
        home = ".".join(steps[:length])
        try:
            module = import_module(home)
        except ModuleNotFoundError as error:
            if error.name and (home == error.name or home.startswith(f"{error.name}.")):
                continue  # not a module: its last step may be an attribute
            raise _cannot_import(home, error, written, path) from error
        except Exception as error:
            raise _cannot_import(home, error, written, path) from error
        return _attribute(module, ".".join(steps[length:]), home, written, path)
    hint = "is it installed in this environment?"
    if str(written.value).endswith(".py"):
        hint = f"name what to take from the file: {written.value}:Name"
    message = f"there is no package `{steps[0]}`"
    raise RecipeError([Problem("no-such-name", message, written.place, path, hint)])


def _cannot_import(home: str, error: Exception, written: Node, path: str) -> RecipeError:
    message = f"cannot import {home}: {summary(error)}"
    return RecipeError([Problem("cannot-import", message, written.place, path, own_frames(error))])


def _attribute(module: types.ModuleType, name: str, home: str, written: Node, path: str) -> Any:
    """Return what a module calls `name`, or `Class.method`."""
    found: Any = module
    owner: Any = None
    for step in filter(None, name.split(".")):
        if not hasattr(found, step):
            known = tuple(_public(found))
            message = f"{home} has no `{step}`"
            problem = unknown(message, written.place, step, known, path=path, code="no-such-name")
            raise RecipeError([problem])
        owner, found, home = found, getattr(found, step), f"{home}.{step}"
    if isinstance(owner, type) and isinstance(
        inspect.getattr_static(owner, name.split(".")[-1]), types.FunctionType
    ):
        return Method(owner, found)
    return found


def _public(home: Any) -> list[str]:
    """Return the names defined in a class, or in a module or one below it; not those it imports."""
    public = [name for name, value in vars(home).items() if name[0] != "_" and callable(value)]
    if isinstance(home, type):
        return [name for name in dir(home) if name[0] != "_" and callable(getattr(home, name))]
    return [name for name in public if str(vars(home)[name].__module__).startswith(home.__name__)]
