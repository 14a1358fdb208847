"""Parameter groups: some parameters, chosen by name, get settings of their own.

optimizer:
  class: AdamW
  groups: [{match: ["*.bias"], weight_decay: 0}]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn
from torch.optim import Optimizer

from nnhooks.objects.calls import Call, Planner
from nnhooks.recipe.nodes import Node
from nnhooks.recipe.problems import Problem, choices, nearest
from nnhooks.recipe.scalars import described
from nnhooks.recipe.values import checked

PATTERNS = str | list[str]


@dataclass(frozen=True, eq=False)
class Group:
    """Patterns of parameter names, and the arguments that differ for them."""

    patterns: list[Node]
    arguments: dict[str, Any]


def plan_groups(call: Call, planner: Planner) -> list[Group]:
    """Return the groups of an optimizer's section; report what is wrong with them."""
    written = call.node.get("groups")
    if written is None:
        return []
    if not isinstance(written.value, list):
        message = f"`optimizer.groups` should be a list, got {described(written.value)}"
        planner.problems.append(Problem("wrong-type", message, written.place, "optimizer.groups"))
        return []
    planned = [
        _group(node, f"optimizer.groups.{at}", call, planner)
        for at, node in enumerate(written.value)
    ]
    return [group for group in planned if group]


def _group(node: Node, path: str, call: Call, planner: Planner) -> Group | None:
    match = node.get("match")
    if match is None:
        hint = 'such as {match: ["*.bias"], weight_decay: 0}'
        message = "a parameter group needs `match`: names of parameters, with * for any"
        planner.problems.append(Problem("missing", message, node.place, path, hint))
        return None
    planner.problems.extend(checked(match, PATTERNS, f"{path}.match")[1])
    arguments = {}
    settings = call.signature.settings
    for name, value in node.items.items():
        if name in settings:
            arguments[name] = planner.argument(value, settings[name], f"{path}.{name}")
        elif name != "match":
            planner.unknown(call, name, value, ["match", *settings])
    return Group(match.value if isinstance(match.value, list) else [match], arguments)


def problems_of(groups: Iterable[Group], model: nn.Module) -> list[Problem]:
    """Return a problem for each pattern that no parameter's name matches."""
    names = [name for name, _ in model.named_parameters()]
    return [
        _unmatched(pattern, names)
        for group in groups
        for pattern in group.patterns
        if not any(fnmatchcase(name, str(pattern.value)) for name in names)
    ]


def _unmatched(pattern: Node, names: list[str]) -> Problem:
    message = f"no parameter's name matches `{pattern.value}`"
    near = nearest(str(pattern.value), names)
    hint = choices(near, names).replace("it has", "the model has")
    place = pattern.place
    return Problem("no-such-name", message, place, "optimizer.groups", hint, near, tuple(names))


def with_groups(
    make: Callable[[Iterable[Any]], Optimizer],
    groups: list[tuple[Group, dict[str, Any]]],
    names: list[str],
) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    """Return an optimizer maker that sorts parameters into groups; the first match counts.

    Parameters are known by their order, which dressing a model (DDP, FSDP) keeps; names it changes.
    """

    def grouped(parameters: Iterable[nn.Parameter]) -> Optimizer:
        rest: list[nn.Parameter] = []
        chosen: list[list[nn.Parameter]] = [[] for _ in groups]
        for name, parameter in zip(names, parameters, strict=True):
            fitting = [at for at, (group, _) in enumerate(groups) if matches(group, name)]
            (chosen[fitting[0]] if fitting else rest).append(parameter)
        own = [
            {"params": those, **arguments}
            for those, (_, arguments) in zip(chosen, groups, strict=True)
        ]
        return make([group for group in [{"params": rest}, *own] if group["params"]])

    return grouped


def matches(group: Group, name: str) -> bool:
    """Say whether a parameter of this name belongs to the group."""
    return any(fnmatchcase(name, str(pattern.value)) for pattern in group.patterns)
