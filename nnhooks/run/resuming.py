"""Resuming: a run goes on in its own folder, if it is still the same run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from nnhooks.build import Built
from nnhooks.plugins import PluginError
from nnhooks.run.errors import CannotResume
from nnhooks.run.order import FULL
from nnhooks.run.record import Record

EPOCHS = "trainer.epochs"
FREE = ("plugins", "name")  # may change: the checkpoint itself tells which plugins are new or gone


def resume(built: Built, record: Record) -> list[str]:
    """Put the run's newest checkpoint into what was built; return what there is to say about it.

    Raises CannotResume.
    """
    checkpoint = built.trainer.plugins.by_name().get("checkpoint")
    if not hasattr(checkpoint, "resume"):
        raise CannotResume(
            f"the run {record.folder} has no checkpoint: "
            "add `- checkpoint` to the plugins of its recipe, and run it anew"
        )
    try:
        return list(checkpoint.resume(built.trainer))
    except PluginError as error:
        raise CannotResume(str(error)) from error


def refuse_changes(built: Built, record: Record) -> None:
    """Raise CannotResume, saying what changed, unless the recipe is that of the run."""
    text = (record.folder / FULL).read_text("utf-8")
    was, now = dict(flat(parsed(text))), dict(flat(parsed(built.full)))
    lines = [
        f"  {path}: {told(was, path)} then, {told(now, path)} now"
        for path in dict.fromkeys([*was, *now])
        if was.get(path) != now.get(path) and not allowed(path, was, now)
    ]
    if lines:
        raise CannotResume(
            "\n".join([f"the recipe is no longer that of the run {record.folder}:", *lines])
            + "\nPut it back, or leave `--resume` out to begin anew."
        )


def allowed(path: str, was: dict[str, str], now: dict[str, str]) -> bool:
    """Say whether a run may go on although this differs: plugins, its name, more epochs."""
    if path == EPOCHS and path in was and path in now:
        return int(now[path]) > int(was[path])
    return path.partition(".")[0] in FREE


def parsed(text: str) -> Any:
    """Return a filled-in recipe as plain data; only its equality with another counts."""
    return yaml.load(text, Loader=yaml.BaseLoader)


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of everything in a mapping that is no mapping itself."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from flat(item, f"{path}.{name}" if path else str(name))
    else:
        yield path, value


def told(values: dict[str, Any], path: str) -> str:
    """Return a value as it is written."""
    return str(values[path]).replace("'", "") if path in values else "nothing"
