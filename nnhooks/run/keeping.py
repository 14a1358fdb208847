"""What a run keeps of where it came from: the recipe, its Python files, its data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nnhooks.run.files import write
from nnhooks.run.order import FULL

if TYPE_CHECKING:
    from nnhooks.build import Built
    from nnhooks.run.record import Record

LARGEST = 16 * 2**20  # bytes of a data file that is copied; of a larger one its hash is kept


def keep(folder: Path, built: Built) -> list[dict[str, str]]:
    """Copy into the folder all that the run is made of; return what data it reads."""
    first, *bases = built.recipe.sources
    write(folder / "recipe.yaml", first.text)
    for base in bases:
        write(folder / free_name(base.name, folder), base.text)
    write(folder / FULL, built.full)
    for name, path in built.recipe.local_files.items():
        write(folder / name, path.read_bytes())
    return [data_file(path, folder / "data") for path in built.data_files]


def free_name(name: str, folder: Path) -> str:
    """Return the name of a base beside the recipe, which has taken `recipe.yaml` already."""
    return f"base.{name}" if name in ("recipe.yaml", FULL) else name


def data_file(path: Path, folder: Path) -> dict[str, str]:
    """Return where a data file is and what is in it, by hash; copy it unless it is large."""
    facts = {"path": str(path.absolute()), "sha256": sha256(path)}
    if path.stat().st_size <= LARGEST:
        folder.mkdir(exist_ok=True)
        write(folder / path.name, path.read_bytes())
        facts["copy"] = f"{folder.name}/{path.name}"
    return facts


def changed(record: Record, built: Built) -> Iterator[str]:
    """Yield, in words, which files are no longer what they were in a run; call it before `keep`."""
    for name, path in built.recipe.local_files.items():
        kept = record.folder / name
        if kept.is_file() and kept.read_bytes() != path.read_bytes():
            yield f"{path.name} has changed since the run {record.folder}"
    for fact in record.facts.get("data", ()):
        path = Path(fact["path"])
        if path in built.data_files and sha256(path) != fact["sha256"]:
            yield f"{path} has changed since the run {record.folder}"


def sha256(path: Path) -> str:
    """Return the hash of what is in a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
