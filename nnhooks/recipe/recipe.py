"""A recipe: read, laid over its bases, changed from the command line, filled in and looked over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nnhooks.recipe.along import Along, accompanied
from nnhooks.recipe.merging import Reader
from nnhooks.recipe.nodes import Node, Source
from nnhooks.recipe.overrides import overridden, without
from nnhooks.recipe.problems import Problem, RecipeError, in_file_order
from nnhooks.recipe.references import filled
from nnhooks.recipe.schema import problems_of


@dataclass(frozen=True, eq=False)
class Recipe:
    """Everything a recipe says, each value with its place, and what is wrong with it so far.

    `root` is the whole of it in its long form: sections are mappings with `class`, plugins a
    mapping by name. `sources` are the files it was read from: itself, then what it extends.
    """

    path: Path
    root: Node
    sources: list[Source]
    overrides: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """The path as messages show it."""
        return self.sources[0].shown

    @property
    def name(self) -> str:
        """The name it gives itself, else that of its file."""
        name = self.root.get("name")
        return name.value if name and isinstance(name.value, str) else self.path.stem

    @property
    def seed(self) -> int:
        """What all randomness starts from: 0 unless said."""
        seed = self.root.get("seed")
        return seed.value if seed and isinstance(seed.value, int) else 0

    @property
    def local_files(self) -> dict[str, Path]:
        """The Python files it names: names to copy them under, and where they are."""
        found: dict[str, Path] = {}
        for path in sorted({path for node in self._classes() if (path := local_file(node))}):
            name, number = path.name, 1
            while name in found:
                number += 1
                name = f"{path.stem}_{number}.py"
            found[name] = path
        return found

    def _classes(self) -> Iterator[Node]:
        for name, section in self.root.items.items():
            for node in section.walk() if not str(name).startswith("x-") else ():
                if (written := node.get("class")) and node.value is not False:
                    yield written


def local_file(written: Node) -> Path | None:
    """Return the file of a name such as `model.py:Model`, from the folder it is written in."""
    file, colon, _ = str(written.value).rpartition(":")
    if not colon or not file.endswith(".py"):
        return None
    return written.place.source.locate(file)


def load(
    path: str | Path,
    overrides: Iterable[str] = (),
    unset: Iterable[str] = (),
    along: Along = Along(),  # noqa: B008 (it cannot change)
) -> Recipe:
    """Return a recipe together with its problems.

    Raises RecipeError where nothing can be read: no file, no YAML, no mapping.
    """
    reader, overrides = Reader(), tuple(overrides)
    problems = reader.problems
    root = reader.read(Path(path))
    root = without(root, unset, problems)
    root = overridden(root, overrides, problems)
    root = accompanied(filled(root, problems), along, problems)
    problems += problems_of(root)
    return Recipe(Path(path).absolute(), root, reader.sources, overrides, in_file_order(problems))


def read(
    path: str | Path,
    overrides: Iterable[str] = (),
    unset: Iterable[str] = (),
    along: Along = Along(),  # noqa: B008 (it cannot change)
) -> Recipe:
    """Return a recipe that has no mistake as far as can be seen without running any code.

    Raises RecipeError with all the mistakes there are.
    """
    recipe = load(path, overrides, unset, along)
    if recipe.problems:
        raise RecipeError(recipe.problems, recipe.shown)
    return recipe
