"""Signatures: what a constructor takes is what its section of a recipe may say."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

EMPTY = inspect.Parameter.empty
SCALARS = (bool, int, float, str)
LISTS = (list, Sequence, Iterable, Collection)
SETS = (set, frozenset, AbstractSet)
UNIONS = (Union, types.UnionType)


@dataclass(frozen=True)
class Setting:
    """One keyword that a constructor takes; `annotation` is Any where nothing is known."""

    name: str
    annotation: Any
    default: Any = EMPTY

    @property
    def required(self) -> bool:
        """Whether it has to be said."""
        return self.default is EMPTY


@dataclass(frozen=True)
class Signature:
    """What a callable takes: its settings, whether it takes others too, and what it returns.

    `returns` is None where no class is known; `filled` are the parameters that somebody else
    fills in.
    """

    settings: dict[str, Setting]
    others: bool
    returns: type | None = None
    filled: tuple[str, ...] = ()


def signature(
    target: Callable[..., Any], filled: Sequence[str] = (), positions: int = 0
) -> Signature:
    """Return what a class or function takes by keyword.

    `filled` are names that somebody else fills in, and so are the first `positions` parameters.
    """
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):  # some classes written in C say nothing about themselves
        return Signature({}, others=True)
    hints = hints_of(target)
    filled = (*filled, *(parameter.name for parameter in parameters[:positions]))
    settings = {
        parameter.name: Setting(parameter.name, hints.get(parameter.name, Any), parameter.default)
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and parameter.name not in filled
    }
    others = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    returns = target if isinstance(target, type) else hints.get("return")
    known = isinstance(returns, type) and returns is not Any  # Any is a class, as of Python 3.11
    return Signature(settings, others, returns if known else None, filled)


def hints_of(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the types that a callable's parameters are annotated with; Any for unknown names."""
    function: Any = inspect.unwrap(getattr(target, "__func__", target))
    if isinstance(target, type):
        function = target.__init__ if target.__init__ is not object.__init__ else target.__new__  # type: ignore[misc]
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # a name imported for type checkers only: take the others one by one
        written = getattr(function, "__annotations__", {})
        names = {
            **vars(sys.modules.get(function.__module__, types)),
            **getattr(function, "__globals__", {}),
        }
        return {name: _evaluated(one, names) for name, one in written.items()}


def _evaluated(annotation: Any, names: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, names)
    except Exception:
        return Any


def expressible(annotation: Any) -> Any:
    """Return the part of a type that YAML can express, as pydantic is to check it; else Any.

    Scalars are strict: `"10"`, `10.0` and `true` are no whole numbers. Lists pass for tuples.
    """
    from pydantic import Strict

    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in SCALARS:
        return Annotated[annotation, Strict()]
    if annotation in (None, types.NoneType, list, dict, tuple, Path) or origin is Literal:
        return annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return annotation
    if origin is Annotated:
        inner = expressible(arguments[0])
        return inner if inner is Any else Annotated[(inner, *arguments[1:])]
    if origin in UNIONS:
        return _union(arguments)
    if origin in (*LISTS, *SETS, tuple, dict, Mapping):
        return _container(origin, arguments)
    return Any


def _union(arguments: tuple[Any, ...]) -> Any:
    """Drop what YAML cannot say, as in `float | Tensor`, unless nothing but null is left."""
    known = [one for one in map(expressible, arguments) if one is not Any]
    unknown = Any in arguments or len(known) < len(arguments)
    if unknown and all(one in (None, types.NoneType, str) for one in known):
        return Any
    return Union[tuple(known)] if known else Any  # noqa: UP007 (made while running)


def _container(origin: Any, arguments: tuple[Any, ...]) -> Any:
    inner = tuple(one if one is ... else expressible(one) for one in arguments)
    if origin in LISTS:
        return list[inner]  # type: ignore[valid-type]
    if origin in SETS:
        return set[inner]  # type: ignore[valid-type]
    return dict[inner] if origin in (dict, Mapping) else tuple[inner]  # type: ignore[valid-type,misc]


def stripped(annotation: Any) -> Any:
    """Return a type without `Annotated` and `| None`, where one type is left."""
    if get_origin(annotation) is Annotated:
        return stripped(get_args(annotation)[0])
    if get_origin(annotation) in UNIONS:
        left = [one for one in get_args(annotation) if one is not types.NoneType]
        return stripped(left[0]) if len(left) == 1 else annotation
    return annotation


def inside(annotation: Any) -> Any:
    """Return the type of what a list or mapping holds; Any if unknown."""
    kind = stripped(annotation)
    holds = get_origin(kind) in (*LISTS, *SETS, tuple, dict, Mapping)
    return ([one for one in get_args(kind) if one is not ...] or [Any])[-1] if holds else Any


def called(annotation: Any) -> tuple[int, Any] | None:
    """Return (number of arguments, what it returns) where a type asks for something to call."""
    kind = stripped(annotation)
    if kind is Callable or get_origin(kind) is Callable:
        arguments = get_args(kind)
        return (
            len(arguments[0]) if arguments and arguments[0] is not ... else 0,
            (*arguments, Any)[1],
        )
    return None
