"""Facts about where a run takes place: versions, git, devices."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import nnhooks


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python, nnhooks, torch and these packages, of those installed."""
    found = {"python": platform.python_version(), "nnhooks": nnhooks.__version__}
    for package in ["torch", *packages]:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git(folder: Path) -> dict[str, object] | None:
    """Return the commit a folder is at, and whether its files differ; None without git."""

    def ask(*words: str) -> str:
        answer = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
        return answer.stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def system() -> str:
    """Return the operating system and its machine, in words."""
    return (
        f"{platform.system()} {platform.release()} {platform.machine()}, {sys.implementation.name}"
    )
