"""Local files: a `model.py` beside a recipe is run once; its errors show its author's own lines."""

from __future__ import annotations

import linecache
import sys
import sysconfig
import traceback
from hashlib import blake2b
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from nnhooks.recipe.nodes import from_here

NNHOOKS = Path(__file__).parent.parent
OURS = (NNHOOKS, NNHOOKS.parent / "plugins")  # of an editable install; a wheel is a package's
OTHERS = tuple({*sysconfig.get_paths().values(), "<frozen"})


def run_file(path: Path) -> ModuleType:
    """Run a Python file as a module with a private name; once, as long as its text stays the same.

    Raises whatever the file raises.
    """
    digest = blake2b(path.read_bytes(), digest_size=8)
    digest.update(bytes(path))
    name = f"_nnhooks_{path.stem}_{digest.hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it runs
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def summary(error: BaseException) -> str:
    """Return an error in one line."""
    text = str(error) or type(error).__name__
    if isinstance(error, SyntaxError):
        text = error.msg
    kinds = (ImportError, AttributeError, SyntaxError, ValueError)
    named = isinstance(error, kinds) or text == type(error).__name__
    return text if named else f"{type(error).__name__}: {text}"


def own_frames(error: BaseException) -> str:
    """Return the lines of the user's own code that an error passed through, innermost last."""
    lines = [
        f"{from_here(Path(frame.filename))}:{frame.lineno}: {frame.line}"
        for frame in traceback.extract_tb(error.__traceback__)
        if is_own(frame.filename)
    ]
    if isinstance(error, SyntaxError) and error.filename and is_own(error.filename):
        line = (error.text or linecache.getline(error.filename, error.lineno or 0)).strip()
        lines.append(f"{from_here(Path(error.filename))}:{error.lineno}: {line}")
    return "\n".join(lines)


def is_own(filename: str) -> bool:
    """Say whether a file is the user's own, and neither Python's, a package's nor ours."""
    ours = any(Path(filename).is_relative_to(folder) for folder in OURS)
    return not ours and not filename.startswith(OTHERS) and not filename.startswith("<")
