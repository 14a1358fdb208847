"""Calls: each section of a recipe as a constructor call, checked against the signature."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnhooks.objects.names import find_object, title_of
from nnhooks.objects.slots import Method, Slot, slot_of
from nnhooks.recipe.nodes import Late, Node, Place
from nnhooks.recipe.problems import Problem, RecipeError, listing, unknown
from nnhooks.recipe.signatures import Setting, Signature, called, inside, signature
from nnhooks.recipe.values import checked

Own = Callable[[Any], Mapping[str, Setting]]


@dataclass(frozen=True, eq=False)
class Value:
    """An argument that is a plain value, as its type wants it."""

    node: Node
    setting: Setting
    path: str
    value: Any = None

    @property
    def late(self) -> bool:
        """Whether it can only be known while building."""
        return any(isinstance(one.value, Late) for one in self.node.walk())


@dataclass(frozen=True, eq=False)
class Call:
    """A constructor call that a recipe asks for, or a function with some of its arguments.

    `name` is how a recipe anywhere would write the target; `own` are settings of the section that
    are not the constructor's, such as `trainer.epochs`.
    """

    node: Node
    path: str
    slot: Slot
    name: Node
    target: Any
    signature: Signature
    arguments: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What messages call the target."""
        return title_of(self.target)

    @property
    def deferred(self) -> bool:
        """Whether somebody else makes the call."""
        return self.slot.deferred(self.target)

    @property
    def place(self) -> Place:
        """Where the recipe names the target, or the section if it does not."""
        written = self.node.get("class")
        return written.place if written else self.node.key or self.node.place


@dataclass(frozen=True)
class Planner:
    """Plans calls, and collects the problems on the way."""

    problems: list[Problem]

    def call(
        self, node: Node, slot: Slot, path: str, default: str = "", own: Own = lambda target: {}
    ) -> Call | None:
        """Return the call that a section stands for; None if its target is not to be had.

        `default` is its class where it names none; `own` says which settings are the section's,
        given the target, where the constructor does not take them itself.
        """
        name = node.get("class") or Node(default, node.key or node.place, node.key)
        if not isinstance(name.value, str):
            return None  # the schema has said so
        try:
            target = find_object(name, slot, path)
        except RecipeError as error:
            self.problems.extend(error.problems)
            return None
        takes = signature_of(target, slot)
        call = Call(node, path, slot, name, target, takes)
        self.fill(call, own(target))
        self.missing(call)
        return call

    def fill(self, call: Call, own: Mapping[str, Setting]) -> None:
        """Sort what a section says into the constructor's arguments and its own settings."""
        takes = call.signature
        for name, value in call.node.items.items():
            if name == "class":
                continue
            setting = takes.settings.get(name) or own.get(name)
            if setting is None and not takes.others:
                self.unknown(call, str(name), value, [*takes.settings, *own])
                continue
            kept = call.own if name in own and name not in takes.settings else call.arguments
            setting = setting or Setting(name, Any)
            kept[name] = self.argument(value, setting, f"{call.path}.{name}")

    def argument(self, node: Node, setting: Setting, path: str) -> Any:
        """Return what an argument is made of: a value, a call, or a container with calls in it."""
        if called(setting.annotation) and isinstance(node.value, str):
            node = Node({"class": Node(node.value, node.place)}, node.place, node.key)
        if "class" in node.items:
            return self.call(node, slot_of(setting.annotation), path)
        if any("class" in one.items for one in node.walk()):
            inner = Setting(setting.name, inside(setting.annotation))
            if isinstance(node.value, list):
                return [
                    self.argument(item, inner, f"{path}.{at}") for at, item in enumerate(node.value)
                ]
            return {
                name: self.argument(item, inner, f"{path}.{name}")
                for name, item in node.items.items()
            }
        value, problems = checked(node, setting.annotation, path, setting.default)
        self.problems.extend(problems)
        return Value(node, setting, path, anchored(value, node))

    def unknown(self, call: Call, name: str, value: Node, known: Collection[str]) -> None:
        """Report a setting that the target does not take."""
        message = f"{call.title} has no setting `{name}`"
        path, place = f"{call.path}.{name}", value.key or value.place
        if name in call.signature.filled:
            hint = f"nnhooks fills in `{name}` itself"
            self.problems.append(Problem("unknown-setting", message, place, path, hint))
            return
        self.problems.append(
            unknown(message, place, name, tuple(known), path=path, code="unknown-setting")
        )

    def missing(self, call: Call) -> None:
        """Report the settings that a target cannot do without, all at once."""
        names = [
            name
            for name, setting in call.signature.settings.items()
            if setting.required and name not in call.node.items
        ]
        if names:
            message = f"{call.title} needs {listing([f'`{name}`' for name in names])}"
            path = f"{call.path}.{names[0]}"
            self.problems.append(Problem("missing", message, call.place, path))


def signature_of(target: Any, slot: Slot) -> Signature:
    """Return what a recipe may say to a target in its slot."""
    function = target.function if isinstance(target, Method) else target
    itself = 1 if isinstance(target, Method) else 0
    return signature(function, slot.filled, slot.positions(target) + itself)


def anchored(value: Any, node: Node) -> Any:
    """Return the value, its relative paths starting from the folder of the file they stand in."""
    if isinstance(value, Path):
        return node.place.source.locate(value.expanduser())
    if isinstance(value, list | tuple):
        return type(value)(anchored(item, node) for item in value)
    return value


def arguments_of(argument: Any) -> Iterator[Value | Call]:
    """Yield every value and call of an argument, however deep."""
    if isinstance(argument, Value | Call):
        yield argument
    below: Any = ()
    if isinstance(argument, Call):
        below = (*argument.arguments.values(), *argument.own.values())
    elif isinstance(argument, list):
        below = argument
    elif isinstance(argument, dict):
        below = argument.values()
    for one in below:
        yield from arguments_of(one)
