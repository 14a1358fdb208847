"""What comes along: plugins that a recipe does not name, and who brings them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nnhooks.recipe.nodes import Node, Place, Source
from nnhooks.recipe.problems import Problem, unknown

RUN = Place(Source("brought along by nnhooks run"))
VALIDATION = Place(Source("brought along by data.validation"))
EXPECT = Place(Source("brought along by expect"))


@dataclass(frozen=True)
class Along:
    """Names of plugins to add around a recipe's own, unless it names them, and to leave out."""

    first: tuple[str, ...] = ()
    last: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def accompanied(root: Node, along: Along, problems: list[Problem]) -> Node:
    """Return the recipe with the plugins that come along named in it, in calling order."""
    written = root.get("plugins")
    own = expecting(root, dict(written.items) if written else {}, problems)
    share = root.get("data", "validation")
    validation = ["validation"] if share is not None and share.value else []
    named = {
        **_missing(along.first, RUN, own),
        **_missing(validation, VALIDATION, own),
        **own,
        **_missing(along.last, RUN, own),
    }
    for name in along.without:
        place = Place(Source("command line", f"--without {name}"))
        if name not in named:
            message = f"this run has no plugin `{name}` to leave out"
            problems.append(
                unknown(message, place, name, tuple(named), path="", code="no-such-plugin")
            )
        else:
            named[name] = Node(False, place, place)
    plugins = Node(named, written.place if written else RUN, written.key if written else None)
    rest = {name: node for name, node in root.items.items() if name != "expect"}
    return Node({**rest, "plugins": plugins}, root.place)


def expecting(root: Node, own: dict[str, Node], problems: list[Problem]) -> dict[str, Node]:
    """Return the plugins with what is expected given to `checks`, which it brings along."""
    expect = root.get("expect")
    if expect is None:
        return own
    checks = own.get("checks", Node({}, EXPECT, EXPECT))
    if "expect" in checks.items:
        message = "`expect` is said twice: here, and as an option of the plugin `checks`"
        place = expect.key or expect.place
        problems.append(Problem("written-twice", message, place, "expect", "say it once"))
    if not isinstance(checks.value, dict):
        return own  # `checks: false` turns it off
    said = Node({**checks.items, "expect": expect}, checks.place, checks.key)
    return {**own, "checks": said}


def _missing(names: Iterable[str], place: Place, own: dict[str, Node]) -> dict[str, Node]:
    return {name: Node({}, place, place) for name in names if name not in own}
