"""Past runs: finding their folders, and knowing which are still under way."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from difflib import get_close_matches
from itertools import count
from pathlib import Path

from nnhooks.run.errors import NoSuchRun, StillRunning
from nnhooks.run.record import FILE, Record

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows, where a folder cannot be locked
    fcntl = None  # type: ignore[assignment]


def create(root: Path, recipe: str) -> Path:
    """Make a folder for a new run, named after the time; two in one second get two folders."""
    started = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for number in count(1):
        folder = root / recipe / (started if number == 1 else f"{started}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("count() has no end")


def all_runs(root: Path) -> list[Record]:
    """Return the runs below a folder, the newest last; what is no run is passed over."""
    found = []
    for file in root.glob(f"*/*/{FILE}"):
        try:
            found.append(Record.read(file.parent))
        except (OSError, ValueError):
            continue
    return sorted(found, key=lambda run: (str(run.facts.get("started")), run.folder.name))


def find(root: Path, name: str) -> Record:
    """Return the run of this path or name, or of the beginning of a name that is only one's.

    Raises NoSuchRun.
    """
    for folder in (Path(name), root / name):
        if (folder / FILE).is_file():
            return Record.read(folder)
    runs = all_runs(root)
    matching = [run for run in runs if run.folder.name == name] or [
        run for run in runs if run.folder.name.startswith(name)
    ]
    if len(matching) == 1:
        return matching[0]
    if matching:
        listed = ", ".join(str(run.folder) for run in matching)
        raise NoSuchRun(f"`{name}` could be any of {listed}")
    near = get_close_matches(name, [run.folder.name for run in runs], 1)
    hint = f"; did you mean `{near[0]}`?" if near else ": `nnhooks runs` lists them"
    raise NoSuchRun(f"there is no run `{name}` in {root}{hint}")


def newest(root: Path, recipe: str) -> Record:
    """Return the newest run of a recipe. Raises NoSuchRun."""
    runs = [run for run in all_runs(root) if run.folder.parent.name == recipe]
    if not runs:
        raise NoSuchRun(f"there is no earlier run of `{recipe}` in {root}: leave `--resume` out")
    return runs[-1]


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from going on with this run; the hold ends with the process.

    Raises StillRunning where another process holds it.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        lock(handle, folder)
        yield
    finally:
        os.close(handle)


def lock(handle: int, folder: Path) -> None:
    """Lock an open folder. Raises StillRunning where another process has."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StillRunning(f"the run {folder} is still under way") from None
    except OSError:  # a file system without locks: nothing to keep others out with
        return


def is_held(folder: Path) -> bool:
    """Say whether a process is at work in this folder."""
    try:
        with held(folder):
            return False
    except StillRunning:
        return True
