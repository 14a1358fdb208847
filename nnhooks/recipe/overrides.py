"""Overrides: `optimizer.lr=0.01` and `--unset optimizer.betas`, said on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nnhooks.recipe.nodes import Node, Place, Source
from nnhooks.recipe.problems import Problem, RecipeError, choices, nearest
from nnhooks.recipe.reading import compose
from nnhooks.recipe.shaping import shaped_at, shaped_plugin

EXAMPLE = "write key.path=value, such as optimizer.lr=0.01"


def overridden(root: Node, overrides: Iterable[str], problems: list[Problem]) -> Node:
    """Return the recipe with each `key.path=value` set; values are read by YAML's rules."""
    for text in overrides:
        key, equals, value = text.partition("=")
        source = Source("command line", text, about=root.place.source)
        names = key.split(".")
        if not equals or not all(names):
            message = f"`{text}` is no setting and value"
            problems.append(Problem("refused", message, Place(source), key, EXAMPLE))
            continue
        node = _value(value, source, key, problems)
        if node is not None:
            root = _set(root, names, node, problems)
    return root


def without(root: Node, unset: Iterable[str], problems: list[Problem]) -> Node:
    """Return the recipe without the settings named, as if they had never been written."""
    for key in unset:
        place = Place(Source("command line", f"--unset {key}"))
        root = _removed(root, key.split("."), Problem("unknown-setting", "", place, key), problems)
    return root


def _value(text: str, source: Source, key: str, problems: list[Problem]) -> Node | None:
    """Read the right side of `=`; whatever is in it, its place is the command line."""
    try:
        node = compose(Source(source.name, text), problems)
    except RecipeError as error:
        message = f"the value of `{key}` is {error.problems[0].message}"
        problems.append(Problem("not-yaml", message, Place(source), key, error.problems[0].hint))
        return None
    return _placed(node, Place(source)) if node else Node(None, Place(source), Place(source))


def _placed(node: Node, place: Place) -> Node:
    if isinstance(node.value, list):
        return Node([_placed(item, place) for item in node.value], place, place)
    if isinstance(node.value, dict):
        return Node({name: _placed(item, place) for name, item in node.items.items()}, place, place)
    return Node(node.value, place, place)


def _set(root: Node, names: Sequence[str], node: Node, problems: list[Problem]) -> Node:
    if len(names) == 1:
        node = shaped_at(names[0], node, problems)
    elif len(names) == 2 and names[0] == "plugins":
        node = shaped_plugin(node)
    try:
        return _with(root, names, node)
    except _Blocked as blocked:
        inner = ".".join(names[: blocked.depth])
        message, hint = f"`{inner}` has no settings of its own", f"replace it whole: {inner}=..."
        problems.append(Problem("refused", message, node.place, ".".join(names), hint))
        return root


class _Blocked(Exception):
    """A value on the way to a setting is no mapping."""

    def __init__(self, depth: int) -> None:
        self.depth = depth


def _with(block: Node, names: Sequence[str], node: Node, depth: int = 0) -> Node:
    """Return the block with one setting below it replaced; missing blocks on the way are made."""
    if not isinstance(block.value, dict):
        raise _Blocked(depth)
    name, *rest = names
    below = block.items.get(name)
    if below is None or below.value is False:  # a plugin that is off is switched on by a setting
        below = Node({}, node.place, node.place)
    changed = _with(below, rest, node, depth + 1) if rest else node
    return Node({**block.value, name: changed}, block.place, block.key)


def _removed(block: Node, names: Sequence[str], missing: Problem, problems: list[Problem]) -> Node:
    below = block.items.get(names[0])
    if below is None:
        known = [str(name) for name in block.items]
        near = nearest(names[0], known)
        message = f"`{missing.path}` is not set, so it cannot be unset"
        hint = choices(near, known)
        problems.append(
            Problem(missing.code, message, missing.place, missing.path, hint, near, tuple(known))
        )
        return block
    settings = dict(block.items)
    if len(names) == 1:
        del settings[names[0]]
    else:
        settings[names[0]] = _removed(below, names[1:], missing, problems)
    return Node(settings, block.place, block.key)
