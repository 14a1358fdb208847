"""States on disk: there whole or not at all, and known again by their hash."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from nnhooks import PluginError

STATE, MANIFEST = "state.pt", "manifest.json"
PART, OLD = ".part-", ".old-"

State = dict[str, Any]


def save(state: State, path: Path, about: Mapping[str, Any]) -> None:
    """Write a state into the new folder `path`, with a manifest that also says `about`.

    The order is what makes it safe against a crash at any instant, of the power too: the files,
    their hashes, the folder; then the name; then the folder that holds the name.
    """
    part = path.with_name(PART + path.name)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    with (part / STATE).open("wb") as file:
        torch.save(state, file)
        sync(file)
    manifest = {**about, "files": {STATE: fingerprint(part / STATE)}}
    with (part / MANIFEST).open("w") as text:
        json.dump(manifest, text, indent=1)
        sync(text)
    sync_folder(part)
    remove(path)  # of the same step, by a run that was taken up before it
    part.rename(path)
    sync_folder(path.parent)


def load(path: Path) -> State:
    """Read a state; nothing that it holds can run code."""
    state: State = torch.load(path / STATE, map_location="cpu", weights_only=True)
    return state


def refuse_unreadable(state: State) -> None:
    """Raise PluginError, naming the part, for a state that could be saved and then never read."""
    parts = {**{f"plugin `{name}`": own for name, own in state["plugins"].items()}, **state}
    for name, part in parts.items():
        memory = io.BytesIO()
        torch.save(part, memory)
        memory.seek(0)
        try:
            torch.load(memory, weights_only=True)
        except UnpicklingError as error:
            reason = str(error).partition("WeightsUnpickler error: ")[2].partition(". ")[0]
            raise PluginError(
                f"the state of {name} must be numbers, text, tensors, lists and dicts: {reason}"
            ) from None


def manifest(path: Path) -> dict[str, Any]:
    """Return what was written about a state."""
    about: dict[str, Any] = json.loads((path / MANIFEST).read_text())
    return about


def damage(path: Path) -> str:
    """Say what is wrong with a saved state; nothing, if every byte is as it was written."""
    try:
        files = manifest(path)["files"]
        wrong = [name for name, known in files.items() if fingerprint(path / name) != known]
    except (OSError, ValueError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
    return f"{wrong[0]} is not what was written" if wrong else ""


def saved(folder: Path) -> list[Path]:
    """Return the states in a folder, the newest last; none of them has been looked into."""
    return sorted(folder.glob("step-*"))


def remove(path: Path) -> None:
    """Remove a state: first its name, so that half of it is never taken for a state."""
    old = path.with_name(OLD + path.name)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
        shutil.rmtree(old)


def clean(folder: Path) -> None:
    """Remove what a killed process has left half written or half removed."""
    for left in [*folder.glob(f"{PART}*"), *folder.glob(f"{OLD}*")]:
        shutil.rmtree(left)


def fingerprint(path: Path) -> dict[str, Any]:
    """Return size and SHA-256 of a file."""
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": file_digest(file, "sha256").hexdigest()}


def sync(file: Any) -> None:
    """Wait until what was written to a file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
