"""Planning: a whole recipe as the calls that it asks for; nothing is called yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nnhooks.objects.calls import Call, Planner, Value, arguments_of
from nnhooks.objects.datasets import settings_of
from nnhooks.objects.groups import Group, plan_groups
from nnhooks.objects.slots import PLUGIN, SLOTS, Method
from nnhooks.recipe import Problem, Recipe
from nnhooks.recipe.nodes import Node, Place, Source
from nnhooks.recipe.schema import CLASSLESS, EPOCHS
from nnhooks.recipe.signatures import Setting, signature
from nnhooks.trainer import Trainer

DEFAULTS = {"data": "Table", "trainer": "Trainer"}
SCHEDULE = "lr_schedule"  # the plugin that `scheduler:` stands for


@dataclass
class Plan:
    """The calls of a recipe by section, its plugins by name in calling order, and its problems."""

    recipe: Recipe
    problems: list[Problem]
    calls: dict[str, Call] = field(default_factory=dict)
    plugins: dict[str, Call] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    @property
    def data_files(self) -> list[Path]:
        """The files that arguments name, as far as they are there."""
        paths = [one.value for one in self._values() if isinstance(one.value, Path)]
        return [path for path in dict.fromkeys(paths) if path.is_file()]

    def _values(self) -> Iterator[Value]:
        for call in (*self.calls.values(), *self.plugins.values()):
            yield from (one for one in arguments_of(call) if isinstance(one, Value))


def planned(recipe: Recipe) -> Plan:
    """Return the plan of a recipe; running its local files is all that this does."""
    plan = Plan(recipe, list(recipe.problems))
    planner = Planner(plan.problems)
    for name in SLOTS:
        node = recipe.root.get(name)
        if node and isinstance(node.value, dict) and ("class" in node.value or name in CLASSLESS):
            own = partial(own_settings, name)
            call = planner.call(node, SLOTS[name], name, DEFAULTS.get(name, ""), own)
            if call:
                plan.calls[name] = call
    _seed(plan)
    _groups(plan, planner)
    _scheduler(plan, planner)
    for name, node in recipe.root.items["plugins"].items.items():
        if isinstance(node.value, dict):
            call = planner.call(node, PLUGIN, f"plugins.{name}", name)
            if call:
                plan.plugins[name] = call
    _bound_loss(plan)
    _closure(plan)
    return plan


def own_settings(section: str, target: Any) -> Mapping[str, Setting]:
    """Return the settings of a section that are not its constructor's."""
    if section == "data":
        return settings_of(target)
    own = {
        "trainer": [Setting("epochs", EPOCHS)],
        "optimizer": [Setting("groups", list[Any], None)],
        "scheduler": [Setting("every", Any, None), Setting("monitor", Any, None)],
    }
    return {setting.name: setting for setting in own.get(section, [])}


def _seed(plan: Plan) -> None:
    """Let data that takes a seed have the recipe's, unless it says one itself."""
    data = plan.calls.get("data")
    if data and "seed" in data.signature.settings and "seed" not in data.arguments:
        setting = data.signature.settings["seed"]
        default = Node(plan.recipe.seed, Place(Source("seed of the recipe")))
        node = plan.recipe.root.get("seed") or default
        data.arguments["seed"] = Value(node, setting, "data.seed", node.value)


def _groups(plan: Plan, planner: Planner) -> None:
    if optimizer := plan.calls.get("optimizer"):
        plan.groups = plan_groups(optimizer, planner)


def _scheduler(plan: Plan, planner: Planner) -> None:
    """Turn `scheduler:` into the plugin that it stands for."""
    written, other = plan.recipe.root.get("scheduler"), plan.recipe.root.get("plugins", SCHEDULE)
    if written is None:
        return
    if other and other.value is not False:
        message = f"`scheduler` stands for the plugin `{SCHEDULE}`, so this would be a second one"
        place, path = other.key or other.place, f"plugins.{SCHEDULE}"
        planner.problems.append(Problem("written-twice", message, place, path, "say it once"))
    schedule = plan.calls.pop("scheduler", None)
    if schedule is None:
        return
    bring = Node(
        {name: schedule.node.items[name] for name in schedule.own}, written.place, written.key
    )
    problems: list[Problem] = []
    plugin = Planner(problems).call(bring, PLUGIN, "scheduler", SCHEDULE)
    planner.problems.extend(one for one in problems if "`schedule`" not in one.message)
    if plugin:
        plugin.arguments["schedule"] = schedule
        plan.plugins[SCHEDULE] = plugin


def _bound_loss(plan: Plan) -> None:
    """Report a loss that is an instance method of another class than the model's."""
    loss, model = plan.calls.get("loss"), plan.calls.get("model")
    if not loss or not isinstance(loss.target, Method) or not model:
        return
    built = getattr(model.target, "__self__", None) or model.signature.returns
    if isinstance(built, type) and not issubclass(built, loss.target.owner):
        message = (
            f"{loss.title} is a method of {loss.target.owner.__name__}, which is not the model"
        )
        hint = f"the model is {built.__name__}: put @staticmethod above it, or name another"
        plan.problems.append(Problem("refused", message, loss.place, "loss", hint))


def _closure(plan: Plan) -> None:
    """Report an optimizer that wants to call the model itself, where nobody lets it."""
    optimizer, trainer = plan.calls.get("optimizer"), plan.calls.get("trainer")
    if not optimizer or not trainer or not isinstance(optimizer.target, type):
        return
    closure = signature(optimizer.target.step, positions=1).settings.get("closure")  # type: ignore[attr-defined]
    steps = getattr(trainer.target, "train_step", None)
    if closure and closure.required and steps is Trainer.train_step:
        message = f"{optimizer.title}.step needs a closure, and Trainer.train_step gives none"
        hint = "override train_step in a Trainer of your own: `trainer: {class: mine.py:Mine}`"
        plan.problems.append(Problem("refused", message, optimizer.place, "optimizer", hint))
