"""The door: what a plugin must be, and how silence and listening work."""

import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from nnhooks import PluginError, hookimpl
from nnhooks import plugins as door
from nnhooks.hookspecs import HOOKS, HookSpecs
from nnhooks.plugins import Hooks, PluginManager


class Misspelt:
    @hookimpl
    def on_epoch_strat(self):
        pass


class MisspeltAndUnmarked:
    @hookimpl
    def on_epoch_start(self):
        pass

    def on_epoch_ends(self):
        pass


class Unmarked:
    def after_loss(self, loss):
        pass


class UnmarkedOverride(Misspelt):
    on_epoch_strat = None

    @hookimpl
    def after_loss(self, loss):
        pass

    def after_backward(self, loss):
        pass


class UnknownArgument:
    @hookimpl
    def after_loss(self, lss):
        pass


class UnknownArgumentWithDefault:
    @hookimpl
    def on_epoch_end(self, epohc=-1):
        pass


class Generator:
    @hookimpl
    def after_loss(self, loss):
        yield


class Asynchronous:
    @hookimpl
    async def after_loss(self, loss):
        pass


class StarArguments:
    @hookimpl
    def after_loss(self, *arguments):
        pass


class Keywords:
    @hookimpl
    def after_loss(self, **arguments):
        pass


class KeywordOnly:
    @hookimpl
    def after_loss(self, *, loss):
        pass


class WrapsTheEnd:
    @hookimpl(wrapper=True)
    def on_fit_end(self):
        return (yield)


class NoHook:
    pass


@dataclass
class ByValue:
    @hookimpl
    def after_loss(self, loss):
        pass


class Good:
    def __init__(self):
        self.heard = []

    @property
    def dangerous(self):
        raise AssertionError("a property was evaluated")

    def after_thought(self):
        """A helper that only begins like a hook."""

    @hookimpl
    def after_loss(self, loss):
        self.heard.append(loss)


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Misspelt(), "there is no such hook; did you mean `on_epoch_start`?"),
        (MisspeltAndUnmarked(), "on_epoch_ends is no hook; did you mean `on_epoch_end`?"),
        (Unmarked(), "after_loss is named like a hook: put @hookimpl above it"),
        (UnmarkedOverride(), "after_backward is named like a hook: put @hookimpl above it"),
        (UnknownArgument(), "after_loss has no argument `lss`; did you mean `loss`?"),
        (UnknownArgumentWithDefault(), "has no argument `epohc`; did you mean `epoch`?"),
        (Generator(), "its body would never run without wrapper=True"),
        (Asynchronous(), "is async: nobody would await it"),
        (StarArguments(), "*arguments would stay empty"),
        (Keywords(), "*arguments would stay empty"),
        (KeywordOnly(), "cannot pass the keyword-only argument `loss`"),
        (WrapsTheEnd(), "on_fit_end calls each plugin by itself"),
        (NoHook(), "implements no hook"),
        (ByValue(), "declare it with @dataclass(eq=False)"),
        (Good, "is a class: register an instance, Good(...)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_misspelt_passes_in_silence(plugins, plugin, message):
    with pytest.raises(PluginError, match=re.escape(message)):
        plugins.register(plugin)

    assert not plugins.get_plugins()


def test_a_good_plugin_is_welcome_and_its_properties_are_left_alone(plugins):
    assert plugins.register(Good(), "good") == "good"


@pytest.mark.parametrize("hook", HOOKS)
def test_silence_is_the_specification(plugins, hook):
    silent = getattr(plugins.live, hook)

    assert silent.__func__ is getattr(HookSpecs, hook)
    assert hook not in vars(plugins.live)


@pytest.mark.parametrize("hook", HOOKS)
def test_whoever_listens_is_called_and_whoever_leaves_is_not(plugins, hook):
    calls = []
    plugin = type("Listens", (), {hook: hookimpl(lambda self: calls.append(hook))})()

    call_with_everything(plugins, hook)
    plugins.register(plugin)
    call_with_everything(plugins, hook)
    plugins.unregister(plugin)
    call_with_everything(plugins, hook)

    assert calls == [hook]


def test_a_silent_hook_still_refuses_a_wrong_argument(plugins):
    with pytest.raises(TypeError):
        plugins.live.after_loss(lss=1)


def test_a_monitor_sees_silent_hooks_too_until_it_is_undone(plugins):
    seen = []
    undo = plugins.add_hookcall_monitoring(
        lambda hook, impls, arguments: seen.append(hook), lambda *_: None
    )

    call_with_everything(plugins, "after_loss")
    undo()
    call_with_everything(plugins, "after_backward")

    assert seen == ["after_loss"]


def test_a_plugin_may_join_and_leave_in_the_middle_of_a_run(make_trainer):
    class Leaves:
        heard = 0

        @hookimpl
        def on_step_end(self, trainer):
            self.heard += 1
            if self.heard == 2:
                trainer.plugins.unregister(self)

    class Invites:
        @hookimpl
        def on_fit_start(self, trainer):
            trainer.plugins.register(guest)

    guest = Leaves()
    make_trainer(Invites()).fit(epochs=1)

    assert guest.heard == 2


def test_plugins_without_a_name_are_called_after_their_class(plugins):
    for _ in range(3):
        plugins.register(Good())

    assert sorted(plugins.by_name()) == ["Good", "Good-2", "Good-3"]


def test_plugins_are_listed_in_the_order_given():
    manager = PluginManager({"first": Good(), "second": Good()})

    assert list(manager.by_name()) == ["first", "second"]


def test_a_plugin_is_found_by_the_name_it_was_installed_under():
    assert door.find("parameter_printer").__name__ == "ParameterPrinter"


def test_a_name_that_nobody_offers_gets_the_nearest():
    with pytest.raises(PluginError, match=r"`checkpont`; did you mean `checkpoint`\?"):
        door.find("checkpont")


def test_a_plugin_that_cannot_be_imported_breaks_only_itself(monkeypatch):
    broken = EntryPoint("broken", "no_such_module:Plugin", "nnhooks.plugins")
    monkeypatch.setattr(door, "entry_points", lambda group: [broken])

    with pytest.raises(PluginError, match=r"`broken`.*cannot be imported: No module named"):
        door.find("broken")


def test_the_live_hooks_take_no_hook_name_for_themselves():
    own = {name for name in vars(Hooks) if not name.startswith("_")}

    assert not own & set(HOOKS)


def call_with_everything(plugins, hook):
    names = getattr(HookSpecs, hook).__code__.co_varnames[1:]
    getattr(plugins.live, hook)(**dict.fromkeys(names))
