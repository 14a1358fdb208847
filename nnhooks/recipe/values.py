"""Values: one value of a recipe against the type that a constructor asks for, in words."""

from __future__ import annotations

from typing import Any

from nnhooks.recipe.nodes import Late, Node, plain
from nnhooks.recipe.problems import Problem, listing, nearest
from nnhooks.recipe.scalars import scalar, shown, written
from nnhooks.recipe.signatures import EMPTY, expressible

KINDS = {  # what pydantic found missing, in the words of a recipe
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping",
    "path_type": "a path",
    "none_required": "null",
    "finite_number": "a finite number",
}
RANGES = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "too_short": "at least {min_length} values long",
    "too_long": "at most {max_length} values long",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
}
CHOICES = ("literal_error", "enum")


def checked(
    node: Node, annotation: Any, path: str, default: Any = EMPTY
) -> tuple[Any, list[Problem]]:
    """Return the value as the type wants it (a tuple, not a list; a Path, not text), and problems.

    A constructor's own default is always right, whatever its annotation says.
    """
    value, kind = plain(node), expressible(annotation)
    if kind is Any or any(isinstance(one.value, Late) for one in node.walk()):
        return value, []
    if type(value) is type(default) and value == default:
        return value, []
    try:
        return _validated(kind, value), []
    except ValueError as error:
        return value, _problems(error, node, path)


def _validated(kind: Any, value: Any) -> Any:
    from pydantic import TypeAdapter

    try:
        return TypeAdapter(kind).validate_python(value)
    except TypeError as error:  # a range that cannot be compared with this value
        raise ValueError(str(error)) from None


def _problems(error: Any, node: Node, path: str) -> list[Problem]:
    """Return one problem for each place; pydantic has one for each branch of a union."""
    errors = error.errors(include_url=False) if hasattr(error, "errors") else []
    placed: dict[tuple[str, ...], list[Any]] = {}
    for one in errors:
        steps = _steps(node, one["loc"])
        placed.setdefault(steps, []).append(one)
    if len(placed) > 1 and () in placed:  # a branch got further into the value than the others
        del placed[()]
    if not errors:
        return [Problem("wrong-type", f"`{path}` is refused: {error}", node.place, path)]
    return [
        _problem(group, node.get(*steps) or node, ".".join([path, *steps]))
        for steps, group in placed.items()
    ]


def _steps(node: Node, location: tuple[int | str, ...]) -> tuple[str, ...]:
    """Return how far a location leads into the value; the names of union branches lead nowhere."""
    steps: list[str] = []
    for part in location:
        if (below := node.child(str(part))) is not None:
            steps, node = [*steps, str(part)], below
    return tuple(steps)


def _problem(errors: list[Any], node: Node, path: str) -> Problem:
    value = plain(node)
    kinds = {error["type"] for error in errors}
    errors.sort(key=lambda error: error["type"] not in RANGES)  # nearly right: say so first
    expected = list(dict.fromkeys(_expected(error) for error in errors))
    choices = [choice for error in errors if error["type"] in CHOICES for choice in _choices(error)]
    near = nearest(value, choices) if isinstance(value, str) else None
    message = f"`{path}` should be {listing(expected, 'or')}, got {shown(value)}"
    hint = f"did you mean `{near}`?" if near else _confusion(value, kinds)
    return Problem(_code(kinds), message, node.place, path, hint, near, tuple(choices))


def _code(kinds: set[str]) -> str:
    if kinds & set(RANGES):
        return "out-of-range"
    return "no-such-choice" if kinds <= set(CHOICES) else "wrong-type"


def _expected(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in RANGES:
        limits = {name: written(limit) for name, limit in context.items()}
        return RANGES[kind].format_map(limits)
    if kind in CHOICES:
        return listing([f"`{choice}`" for choice in _choices(error)], "or")
    if kind == "missing":
        return "a longer list"
    message = str(error["msg"])
    return KINDS.get(kind, message.removeprefix("Input should be ").removeprefix("Value error, "))


def _choices(error: Any) -> list[str]:
    words = error["ctx"]["expected"].replace(" or ", ", ").split(", ")
    return [word.strip("'") for word in words]


def _confusion(value: Any, kinds: set[str]) -> str:
    """Return a hint where the value is nearly right."""
    if not isinstance(value, str):
        return ""
    if "bool_type" in kinds and value.lower() in ("yes", "no", "on", "off"):
        return "YAML 1.2 writes true and false"
    bare = scalar(value.strip().replace("_", ""))
    if kinds & {"int_type", "float_type"} and type(bare) in (int, float):
        return f"write {bare}, without quotes or underscores"
    return ""
