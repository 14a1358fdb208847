"""Nodes: the values of a recipe, each of which knows where it was written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML counts as one


def from_here(path: Path) -> str:
    """Return a path from the current directory where it lies below it, else the whole path."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


@dataclass(frozen=True, eq=False)
class Source:
    """Something that values are written in: a file, the command line, a constructor.

    What is said on the command line about the recipe `about` may name files that lie beside it.
    """

    name: str
    text: str = ""
    path: Path | None = None
    about: Source | None = None

    @cached_property
    def lines(self) -> list[str]:
        """The text, cut where YAML cuts it."""
        return LINE_BREAK.split(self.text)

    def locate(self, path: str | Path) -> Path:
        """Return the whole path that a relative one written here means."""
        here = Path(os.path.abspath((self.path.parent if self.path else Path.cwd()) / path))
        if self.about and not os.path.exists(here):
            beside = self.about.locate(path)
            return beside if os.path.exists(beside) else here
        return here

    @property
    def shown(self) -> str:
        """The path as messages show it, or the name of what is no file."""
        return self.name if self.path is None else from_here(self.path)


@dataclass(frozen=True)
class Place:
    """A stretch of one line of a source; line and columns count from 1, 0 where there are none."""

    source: Source
    line: int = 0
    column: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        return f"{self.source.shown}:{self.line}" if self.source.path else self.source.shown


@dataclass(frozen=True)
class Ask:
    """A question that only building can answer, such as `${data:num_classes}`."""

    kind: str
    name: str


@dataclass(frozen=True)
class Late:
    """A value with questions in it; a lone question keeps the type of its answer."""

    parts: tuple[str | Ask, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """One value: a scalar, a list of nodes or a mapping to nodes, and where it stands.

    `key` is where the value's key is written; `written` is its text before references to the
    environment, or to what only building knows, were filled in.
    """

    value: Any
    place: Place
    key: Place | None = None
    written: str | None = None

    @cached_property
    def size(self) -> int:
        """How many values it stands for, itself included; one that is used twice counts twice."""
        return 1 + sum(node.size for node in self.below)

    @cached_property
    def depth(self) -> int:
        """How deep blocks lie in one another here."""
        return 1 + max((node.depth for node in self.below), default=0)

    @property
    def below(self) -> list[Node]:
        """The nodes one step below this one."""
        return self.value if isinstance(self.value, list) else list(self.items.values())

    @property
    def items(self) -> dict[str, Node]:
        """The settings of a mapping; none for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    def get(self, *path: str) -> Node | None:
        """Return the node that far below this one, or None; list items are named by position."""
        node: Node | None = self
        for name in path:
            node = node and node.child(name)
        return node

    def child(self, name: str) -> Node | None:
        """Return the node one step below this one, or None."""
        if isinstance(self.value, list):
            return (
                self.value[int(name)] if name.isdecimal() and int(name) < len(self.value) else None
            )
        return self.items.get(name)

    def walk(self) -> Iterator[Node]:
        """Yield this node and every node below it."""
        yield self
        for node in self.below:
            yield from node.walk()


def plain(node: Node) -> Any:
    """Return the bare data of a node, without places."""
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {name: plain(item) for name, item in node.value.items()}
    return node.value
