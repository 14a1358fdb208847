"""Showing: a recipe as YAML again, each value with where it comes from."""

from __future__ import annotations

from collections.abc import Iterator

from nnhooks.recipe.nodes import Node, plain
from nnhooks.recipe.scalars import written

INDENT = "  "


def as_yaml(root: Node, only: str | None = None) -> str:
    """Return a recipe as YAML, origins in comments; reading it gives the same recipe again."""
    lines: list[tuple[str, str]] = []
    for name, node in root.items.items():
        if only in (None, name):
            lines += _plugins(node) if name == "plugins" else _setting(name, node, "")
    width = min(60, max((len(text) for text, origin in lines if origin), default=0))
    return "".join(
        f"{text:{width}}  # {origin}\n" if origin else f"{text}\n" for text, origin in lines
    )


def _setting(name: str, node: Node, indent: str) -> Iterator[tuple[str, str]]:
    """Yield (line, origin) for a setting: a block of its own where it holds a constructor call."""
    if "class" not in node.items:
        yield f"{indent}{written(name)}: {_inline(node)}", str(node.place)
        return
    yield f"{indent}{written(name)}:", ""
    for inner, setting in node.items.items():
        yield from _setting(inner, setting, indent + INDENT)


def _plugins(plugins: Node) -> Iterator[tuple[str, str]]:
    if not plugins.items:
        return
    yield "plugins:", ""
    for name, node in plugins.items.items():
        if not node.items:
            off = ": false" if node.value is False else ""
            yield f"{INDENT}- {written(name)}{off}", str(node.key or node.place)
            continue
        yield f"{INDENT}- {written(name)}:", str(node.key or node.place)
        for inner, setting in node.items.items():
            yield from _setting(inner, setting, INDENT * 3)


def _inline(node: Node) -> str:
    """Return a value on one line; what the environment or the run fills in stays as written."""
    if node.written is not None:
        return written(node.written)
    if isinstance(node.value, list):
        return f"[{', '.join(map(_inline, node.value))}]"
    if isinstance(node.value, dict):
        pairs = (f"{written(name)}: {_inline(item)}" for name, item in node.value.items())
        return f"{{{', '.join(pairs)}}}"
    value = plain(node)
    return written(value.replace("${", "$${") if isinstance(value, str) else value)
