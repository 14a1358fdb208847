"""Plugins: found by name, checked at the door, and connected to the hooks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from types import CodeType, FrameType
from typing import Any

import pluggy

from nnhooks.hookspecs import HOOKS, HookSpecs


class PluginError(Exception):
    """A plugin that cannot work, and why."""


class Hooks(HookSpecs):
    """The hooks as the training step calls them: one that nobody implements is its own empty spec.

    pluggy's caller stands in front of it, as an instance attribute, while a plugin listens. Call
    them with keywords only, as pluggy wants it.
    """

    def refresh(self, manager: pluggy.PluginManager, monitored: bool) -> None:
        """Take up who listens now."""
        for name in HOOKS:
            caller = getattr(manager.hook, name)
            if monitored or caller.get_hookimpls():
                setattr(self, name, caller)
            else:
                vars(self).pop(name, None)


class PluginManager(pluggy.PluginManager):
    """pluggy's manager, strict: whatever pluggy would pass over in silence is refused here."""

    def __init__(self, plugins: Iterable[object] | Mapping[str, object] = ()) -> None:
        super().__init__("nnhooks")
        self.add_hookspecs(HookSpecs)
        self.live = Hooks()
        self._monitors = 0
        named = plugins.items() if isinstance(plugins, Mapping) else ((None, p) for p in plugins)
        for name, plugin in reversed(list(named)):  # pluggy calls the last registered first
            self.register(plugin, name)

    def register(self, plugin: object, name: str | None = None) -> str | None:
        """Connect a plugin; it is called before those that are here already."""
        check(plugin, name or type(plugin).__name__)
        registered = super().register(plugin, name)
        self.live.refresh(self, bool(self._monitors))
        return registered

    def unregister(self, plugin: object | None = None, name: str | None = None) -> Any:
        """Disconnect a plugin; what it has started it still has to end by itself."""
        left = super().unregister(plugin, name)
        self.live.refresh(self, bool(self._monitors))
        return left

    def get_canonical_name(self, plugin: object) -> str:
        """Name a plugin that was given none after its class; a second of its kind gets a number."""
        kind = type(plugin).__name__
        taken = sum(type(other).__name__ == kind for other in self.get_plugins())
        return f"{kind}-{taken + 1}" if taken else kind

    def add_hookcall_monitoring(self, before: Any, after: Any) -> Callable[[], None]:
        """Let `before` and `after` see every hook call, of silent hooks too, until undone."""
        undo = super().add_hookcall_monitoring(before, after)
        self._monitors += 1
        self.live.refresh(self, monitored=True)

        def done() -> None:
            undo()
            self._monitors -= 1
            self.live.refresh(self, bool(self._monitors))

        return done

    def by_name(self) -> dict[str, object]:
        """Return the plugins in the order in which they are called."""
        named = [(name, plugin) for name, plugin in self.list_name_plugin() if plugin is not None]
        return dict(reversed(named))

    def call_each(self, hook: str, **arguments: Any) -> list[Exception]:
        """Call every plugin by itself and return what they raised, each with a note who it was."""
        errors = []
        for listener in reversed(getattr(self.hook, hook).get_hookimpls()):
            try:
                listener.function(*(arguments[name] for name in listener.argnames))
            except Exception as error:
                error.add_note(f"in plugin `{listener.plugin_name}`, hook `{hook}`")
                errors.append(error)
        return errors

    def speaker(self, frames: Iterable[FrameType]) -> tuple[str, str] | None:
        """Return (plugin, hook) of the innermost of these stack frames that is a plugin's hook."""
        hooks = {
            code(listener.function): (listener.plugin_name, name)
            for name in HOOKS
            for listener in getattr(self.hook, name).get_hookimpls()
        }
        found = [hooks[frame.f_code] for frame in frames if frame.f_code in hooks]
        return found[-1] if found else None


def code(function: Any) -> CodeType | None:
    """Return the code object that a call of this function puts into a stack frame."""
    return getattr(inspect.unwrap(function), "__code__", None)


def check(plugin: object, who: str) -> None:
    """Refuse a plugin that pluggy would accept and then never, or only half, call."""
    if isinstance(plugin, type):
        raise PluginError(f"{who} is a class: register an instance, {plugin.__name__}(...)")
    if type(plugin).__hash__ is None:
        raise PluginError(f"{who} compares by value: declare it with @dataclass(eq=False)")
    implemented = [check_method(plugin, who, *method) for method in methods(plugin)]
    if not any(implemented):
        raise PluginError(f"{who} implements no hook: put @hookimpl above a method named like one")


def methods(plugin: object) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    """Yield (name, function, what @hookimpl says or None); no property is evaluated."""
    for name in dir(plugin):
        function = inspect.getattr_static(plugin, name)
        function = getattr(function, "__func__", function)  # of a static, class or bound method
        if not name.startswith("_") and inspect.isroutine(function):
            yield name, function, getattr(function, "nnhooks_impl", None)


def check_method(
    plugin: object, who: str, name: str, function: Any, options: dict[str, Any] | None
) -> bool:
    """Return whether the method is a sound hook; refuse one that only looks like one."""
    where = f"{who}.{name}"
    if options is None:
        check_unmarked(where, name)
        return False
    hook = options["specname"] or name
    if hook not in HOOKS:
        raise PluginError(f"{where}: there is no such hook{did_you_mean(hook, HOOKS)}")
    if inspect.iscoroutinefunction(function):
        raise PluginError(f"{where} is async: nobody would await it")
    if inspect.isgeneratorfunction(function):
        if not options["wrapper"]:
            raise PluginError(f"{where} yields: its body would never run without wrapper=True")
        if hook == "on_fit_end":
            raise PluginError(f"{where}: on_fit_end calls each plugin by itself, nothing to wrap")
    check_arguments(where, hook, getattr(plugin, name))
    return True


def check_unmarked(where: str, name: str) -> None:
    """Refuse a method without @hookimpl that is named like a hook, or nearly so."""
    if name in HOOKS:
        raise PluginError(f"{where} is named like a hook: put @hookimpl above it")
    if name.startswith(("on_", "before_", "after_")) and get_close_matches(name, HOOKS, 1, 0.9):
        raise PluginError(f"{where} is no hook{did_you_mean(name, HOOKS)}")


def check_arguments(where: str, hook: str, method: Callable[..., Any]) -> None:
    """Refuse arguments that the hook does not offer, or that pluggy could not pass."""
    offered = list(inspect.signature(getattr(HookSpecs, hook)).parameters)[1:]
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise PluginError(f"{where}: *{name} would stay empty; name what you want of {offered}")
        if parameter.kind is parameter.KEYWORD_ONLY:
            raise PluginError(f"{where}: pluggy cannot pass the keyword-only argument `{name}`")
        if name not in offered:
            hint = did_you_mean(name, offered) or f"; it offers {', '.join(offered)}"
            raise PluginError(f"{where}: {hook} has no argument `{name}`{hint}")


def catalogue() -> dict[str, EntryPoint]:
    """Return the plugins that installed packages offer, by name; none of them is imported."""
    return {entry.name: entry for entry in entry_points(group="nnhooks.plugins")}


def find(name: str) -> Any:
    """Return the plugin class that an installed package offers under this name."""
    offered = catalogue()
    if name not in offered:
        raise PluginError(f"no installed plugin is called `{name}`{did_you_mean(name, offered)}")
    try:
        return offered[name].load()
    except Exception as error:
        raise PluginError(
            f"the plugin `{name}` ({offered[name].value}) cannot be imported: {error}"
        ) from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean `...`?", or nothing where nothing is near."""
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean `{near[0]}`?" if near else ""
