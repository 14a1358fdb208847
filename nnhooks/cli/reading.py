"""What a plugin offers, read from its source: nothing is imported, so nothing can fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True)
class Option:
    """One keyword of a plugin's constructor, as it is written."""

    name: str
    type: str
    default: str | None

    def __str__(self) -> str:
        kind = f": {self.type}" if self.type else ""
        return f"{self.name}{kind}" + (f" = {self.default}" if self.default is not None else "")


class Described:
    """An installed plugin, known by its entry point and its source alone."""

    def __init__(self, entry: EntryPoint) -> None:
        self.name, self.place, self.attribute = entry.name, entry.module, entry.attr
        self.distribution = entry.dist.name if entry.dist else ""
        self.version = entry.dist.version if entry.dist else ""

    @cached_property
    def file(self) -> Path | None:
        """The file that the plugin's module is in, if there is one."""
        return module_file(self.place)

    @cached_property
    def problem(self) -> str:
        """Why the plugin cannot be read; empty if it can."""
        if self.file is None:
            return f"there is no module `{self.place}`"
        try:
            found = self._lineage
        except (OSError, SyntaxError, ValueError) as error:
            return f"cannot read {self.file}: {error}"
        return "" if found else f"`{self.place}` defines no `{self.attribute}`"

    @cached_property
    def line(self) -> int:
        """The line its class begins on."""
        return next((kind.lineno for kind in self._known), 0)

    @cached_property
    def doc(self) -> str:
        """The docstring of its class."""
        return next((ast.get_docstring(kind) or "" for kind in self._known), "")

    @cached_property
    def hooks(self) -> list[str]:
        """The hooks it implements, in the order of its source."""
        marked = (m.name for m in self._methods if any(map(marks_hook, m.decorator_list)))
        return list(dict.fromkeys(marked))

    @cached_property
    def options(self) -> list[Option]:
        """What a recipe can set: the keywords of its constructor, or a dataclass's fields."""
        for method in self._methods:
            if method.name == "__init__":
                return list(keywords(method.args))
        decorated = [kind for kind in self._known if kind.decorator_list]
        fields = [
            node for kind in decorated for node in kind.body if isinstance(node, ast.AnnAssign)
        ]
        return [
            Option(text(f.target), text(f.annotation), text(f.value) if f.value else None)
            for f in fields
        ]

    @cached_property
    def _lineage(self) -> list[ast.ClassDef]:
        """The class and its bases, nearest first."""
        return list(lineage(self.file, self.attribute)) if self.file else []

    @property
    def _known(self) -> list[ast.ClassDef]:
        return [] if self.problem else self._lineage

    @property
    def _methods(self) -> Iterator[ast.FunctionDef]:
        bodies = (kind.body for kind in self._known)
        return (node for body in bodies for node in body if isinstance(node, ast.FunctionDef))


def lineage(file: Path, name: str) -> Iterator[ast.ClassDef]:
    """Yield a class and its bases, as far as their files can be found; nearest first."""
    for node in ast.parse(file.read_bytes(), str(file)).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield node
            for base in node.bases:
                yield from lineage(file, text(base))
        elif isinstance(node, ast.ImportFrom) and name in [one.name for one in node.names]:
            source = imported_file(node, file)
            yield from lineage(source, name) if source else ()


def imported_file(node: ast.ImportFrom, importer: Path) -> Path | None:
    """Return the file that `from ... import` reads, if it lies in a folder that can be found."""
    module = node.module or "__init__"
    if node.level == 0:
        return module_file(module)
    folder = importer.parents[node.level - 1]
    return file_below(folder, module.split("."))


def module_file(module: str) -> Path | None:
    """Return the file of a module without importing the packages it is in."""
    top, *below = module.split(".")
    spec = find_spec(top)
    if spec is None:
        return None
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    if not below:
        return Path(spec.origin) if spec.origin and spec.has_location else None
    return next(filter(None, (file_below(folder, below) for folder in folders)), None)


def file_below(folder: Path, names: list[str]) -> Path | None:
    """Return the file of a module by its names below a folder: a file, or a package's first."""
    path = folder.joinpath(*names)
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def marks_hook(decorator: ast.expr) -> bool:
    """Say whether a decorator is `@hookimpl`, however it is imported and called."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(function).split(".")[-1] == "hookimpl"


def keywords(arguments: ast.arguments) -> Iterator[Option]:
    """Yield what a constructor can be given, without `self`."""
    positional = [*arguments.posonlyargs, *arguments.args]
    missing = len(positional) - len(arguments.defaults)
    defaults = [*[None] * missing, *arguments.defaults, *arguments.kw_defaults]
    for argument, default in list(zip([*positional, *arguments.kwonlyargs], defaults, strict=True))[
        1:
    ]:
        yield Option(argument.arg, text(argument.annotation), text(default) if default else None)


def text(node: ast.expr | None) -> str:
    """Return an expression as it is written."""
    return ast.unparse(node) if node else ""
