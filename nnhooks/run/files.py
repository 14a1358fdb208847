"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, content: str | bytes) -> None:
    """Put the content where `path` says; whoever reads it meets the old file or the new one."""
    whole = path.with_name(f".{path.name}.{os.getpid()}.part")
    data = content.encode() if isinstance(content, str) else content
    try:
        with whole.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        whole.replace(path)
    finally:
        whole.unlink(missing_ok=True)
