"""Slots: what each part of a recipe asks for, and whether an object is that."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nnhooks.plugins import methods
from nnhooks.recipe.signatures import called, signature, stripped
from nnhooks.trainer import Trainer

NAMESPACES = {
    nn.Module: "torch.nn",
    Optimizer: "torch.optim",
    LRScheduler: "torch.optim.lr_scheduler",
}
PLUGINS = "nnhooks.plugins"  # the entry points; no module is called so
BUILTINS = (types.BuiltinFunctionType, types.BuiltinMethodType)


class Plugin:
    """Stands for anything with hooks."""


@dataclass(frozen=True)
class Method:
    """An instance method, which needs the model before it can be called."""

    owner: type
    function: Callable[..., Any]


@dataclass(frozen=True)
class Slot:
    """A place for an object: the type it asks for, and where short names are looked up.

    `article` names the type in messages; `filled` are arguments that building fills in; `offers`
    are the short names to suggest, where not all that fit.
    """

    annotation: Any
    article: str
    namespace: str = ""
    filled: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()

    @property
    def base(self) -> Any:
        """The class asked for, of the object or of what calling it returns; Any if unknown."""
        asked = called(self.annotation)
        kind = stripped(asked[1] if asked else self.annotation)
        return kind if isinstance(kind, type) else Any

    def deferred(self, target: Any) -> bool:
        """Whether somebody else makes the call, of a function or of a class that they ask for."""
        asked = called(self.annotation)
        if asked is None:
            return False
        return not isinstance(target, type) or self.base is Any or issubclass(target, self.base)

    def positions(self, target: Any) -> int:
        """How many arguments the one who makes the call gives by position."""
        asked = called(self.annotation)
        return asked[0] if asked and self.deferred(target) else 0


SLOTS = {
    "data": Slot(Any, "data", "nnhooks", offers=("Table", "Batches")),
    "model": Slot(nn.Module, "a Module", "torch.nn"),
    "loss": Slot(Callable[[Any, Any], Tensor], "a loss", "torch.nn"),
    "optimizer": Slot(Callable[[Iterable[nn.Parameter]], Optimizer], "an Optimizer", "torch.optim"),
    "scheduler": Slot(
        Callable[[Optimizer], LRScheduler], "an LRScheduler", "torch.optim.lr_scheduler"
    ),
    "trainer": Slot(
        Trainer,
        "a Trainer",
        "nnhooks",
        ("model", "loss", "optimizer", "batches", "validation", "plugins", "folder"),
        offers=("Trainer",),
    ),
}
PLUGIN = Slot(Plugin, "a plugin", PLUGINS)


def slot_of(annotation: Any) -> Slot:
    """Return the slot that a constructor's parameter makes."""
    slot = Slot(annotation, "")
    if slot.base is Any:
        return slot
    namespaces = [name for base, name in NAMESPACES.items() if issubclass(slot.base, base)]
    return Slot(annotation, f"a {slot.base.__name__}", "".join(namespaces[:1]))


def refusal(target: Any, slot: Slot) -> str:
    """Return what an object should be to fit a slot, to follow "X is not"; nothing if it fits."""
    if isinstance(target, Method):
        fits = slot.annotation == SLOTS["loss"].annotation
        return "" if fits else f"{slot.article or 'a constructor'}, but an instance method"
    if not callable(target) or isinstance(target, nn.Module):
        return f"a class or function, but {_kind(target)}"
    if slot.base is Plugin and isinstance(target, type):
        hooks = any(options is not None for _, _, options in methods(target))
        return "" if hooks else "a plugin: it has no method marked with @hookimpl"
    if slot.base in (Any, Plugin, object):
        return ""
    return "" if _fits(target, slot) else slot.article


def _fits(target: Any, slot: Slot) -> bool:
    base = slot.base
    if isinstance(target, type):
        if base is Tensor:  # a loss: its instances are called
            return any("__call__" in vars(one) for one in target.__mro__)
        return issubclass(target, base)
    if issubclass(base, Optimizer | LRScheduler | Trainer):
        return False
    if isinstance(target, BUILTINS):
        return (target.__module__ or "").startswith("torch")
    returns = signature(target).returns
    return returns is None or issubclass(returns, base)


def _kind(target: Any) -> str:
    if isinstance(target, types.ModuleType):
        return "a module"
    return f"an object of class {type(target).__name__}"
