"""Merging: a recipe is laid over the recipes that it extends."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

from nnhooks.recipe.files import open_source
from nnhooks.recipe.nodes import Node, Place, Source
from nnhooks.recipe.problems import Problem, RecipeError
from nnhooks.recipe.reading import compose
from nnhooks.recipe.scalars import described
from nnhooks.recipe.shaping import shaped


def merged(parent: Node, child: Node) -> Node:
    """Lay one value over another.

    Mappings merge, and new settings go last. A mapping that says `class` is complete and replaces
    its parent, as lists and single values do.
    """
    if (
        not isinstance(parent.value, dict)
        or not isinstance(child.value, dict)
        or "class" in child.value
    ):
        return child
    settings = dict(parent.value)
    for name, node in child.items.items():
        settings[name] = merged(settings[name], node) if name in settings else node
    return Node(settings, child.place, child.key)


class Reader:
    """Reads a recipe and everything it extends; each file once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.sources: list[Source] = []
        self.roots: dict[Path, Node] = {}

    def read(self, path: Path, chain: tuple[Place, ...] = ()) -> Node:
        """Return a file's root laid over its bases; `chain` holds the `extends` that led here.

        Raises RecipeError where a file cannot be read at all.
        """
        path = Path(os.path.abspath(path))
        if path not in self.roots:
            source = open_source(path, *(chain[-1:] and (chain[-1], "extends")))
            self.sources.append(source)
            own = shaped(self.root(source), self.problems)
            bases = [
                self.read(base, (*chain, place)) for base, place in self.bases(own, source, chain)
            ]
            self.roots[path] = self.laid([*bases, own])
        return self.roots[path]

    def laid(self, roots: list[Node]) -> Node:
        """Lay each root over those before it."""
        result = roots[0]
        for root in roots[1:]:
            result = merged(result, root)
        return Node(
            {name: node for name, node in result.items.items() if name != "extends"}, result.place
        )

    def root(self, source: Source) -> Node:
        """Return the mapping that a file holds, or raise RecipeError."""
        node = compose(source, self.problems)
        if node is None or node.value is None:
            problem = Problem("missing", f"{source.shown} is empty", Place(source))
        elif not isinstance(node.value, dict):
            message = f"a recipe is a mapping, got {described(node.value)}"
            hint = "it starts with `data:`, `model:`, `loss:`, `optimizer:` and `trainer:`"
            problem = Problem("wrong-type", message, node.place, hint=hint)
        else:
            return node
        raise RecipeError([problem])

    def bases(
        self, own: Node, source: Source, chain: tuple[Place, ...]
    ) -> list[tuple[Path, Place]]:
        """Return the files that a root extends, and where it says so."""
        extends = own.get("extends")
        if extends is None:
            return []
        written = extends.value if isinstance(extends.value, list) else [extends]
        found = []
        for node in written:
            if not isinstance(node.value, str):
                message = (
                    f"`extends` should be a file or a list of files, got {described(node.value)}"
                )
                self.problems.append(Problem("wrong-type", message, node.place, "extends"))
                continue
            base = source.locate(node.value)
            self.refuse_cycle(base, (*chain, node.place))
            found.append((base, node.place))
        return found

    def refuse_cycle(self, base: Path, chain: tuple[Place, ...]) -> None:
        """Raise RecipeError where a file extends one that led to it."""
        files = [place.source.path for place in chain]
        if base in files:
            around = chain[files.index(base) :]
            steps = [f"{one} extends {next.source.shown}" for one, next in pairwise(around)]
            hint = "\n".join([*steps, f"{around[-1]} extends {around[0].source.shown} again"])
            message = f"{around[0].source.shown} extends itself"
            raise RecipeError([Problem("refused", message, chain[-1], "extends", hint)])
