"""A run that was interrupted goes on as if it had not been.

In plain PyTorch:

    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), ...}, part)
    os.fsync(part)
    os.replace(part, "checkpoint.pt")
    ...
    state = torch.load("checkpoint.pt", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge

from nnhooks import Interrupted, PluginError, Trainer, hookimpl
from nnhooks_plugins import _saved as disk
from nnhooks_plugins._monitored import monitored

ON_DISK = 2  # should the newest be damaged, there is one before it


class Checkpoint:
    """Saves all that a run needs to go on bit for bit: every so often, and at its end.

    A checkpoint is there whole or not at all, and is known again by its hash. Kept are the newest
    two, and the best `keep` by `monitor` (without one, the newest `keep`). An interrupted run is
    saved too, if no step was half done. `folder` starts from the run's folder.
    """

    def __init__(
        self,
        every: Annotated[int, Ge(1)] = 1,
        unit: Literal["epoch", "step"] = "epoch",
        monitor: str | None = None,
        mode: Literal["min", "max"] = "min",
        keep: Annotated[int, Ge(1)] = 1,
        folder: str = "checkpoints",
    ) -> None:
        if monitor and unit == "step":
            raise PluginError(f"`{monitor}` is known at the end of an epoch: unit='epoch'")
        self.every, self.unit, self.folder = every, unit, folder
        self.monitor, self.mode, self.keep = monitor, mode, keep
        self.last = ""
        if unit == "epoch":  # then no step should pay for listening
            self.on_step_end = None  # type: ignore[method-assign, assignment]
        else:
            self.on_epoch_end = None  # type: ignore[method-assign, assignment]

    @hookimpl
    def on_fit_start(self, trainer: Trainer) -> None:
        if not trainer.is_main:
            return
        folder = trainer.folder / self.folder
        disk.clean(folder)
        for path in disk.saved(folder):
            if path.name > name(trainer):
                set_aside(path)

    @hookimpl(trylast=True)  # once every other plugin has finished its step
    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.step % self.every == 0:
            self.save(trainer)

    @hookimpl(trylast=True)  # once every other plugin has finished its epoch
    def on_epoch_end(self, trainer: Trainer, epoch: int) -> None:
        if epoch % self.every == 0:
            self.save(trainer)

    @hookimpl(tryfirst=True)  # before anybody takes the run apart
    def on_fit_end(self, trainer: Trainer, error: BaseException | None) -> None:
        between_steps = error is None or isinstance(error, Interrupted)
        if between_steps and trainer.step and self.last != name(trainer):
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Save the run as it stands between two steps, and remove what need not be kept."""
        if not trainer.is_main:
            return
        path = trainer.folder / self.folder / name(trainer)
        state, about = trainer.state_dict(), self.about(trainer)
        if not self.last:
            disk.refuse_unreadable(state)
        try:
            disk.save(state, path, about)
        except (OSError, RuntimeError) as error:
            kept = f"; {self.last} is still there" if self.last else ""
            raise PluginError(f"{path} could not be written: {error}{kept}") from error
        self.last = path.name
        for superfluous in self.superfluous(path.parent):
            disk.remove(superfluous)

    def about(self, trainer: Trainer) -> dict[str, Any]:
        """Return what the manifest tells: where the run stands, how good it is, on what it ran."""
        value = None
        if self.monitor and not trainer.batches_used:
            value = monitored(trainer, self.monitor)
        return {
            "epoch": trainer.epoch,
            "step": trainer.step,
            "batches_used": trainer.batches_used,
            "monitor": self.monitor,
            "mode": self.mode,
            "value": value if value is not None and isfinite(value) else None,
            "machine": machine(),
        }

    def superfluous(self, folder: Path) -> set[Path]:
        """Return the checkpoints that are neither among the newest nor among the best."""
        paths = disk.saved(folder)
        return set(paths) - set(paths[-ON_DISK:]) - set(ranked(paths)[: self.keep])

    def resume(self, trainer: Trainer, folder: Path | None = None) -> list[str]:
        """Take up the newest checkpoint that is undamaged; return what there is to say about it.

        Looks into this plugin's own folder unless another is given. Call it before `fit`.
        """
        path, words = newest(folder or trainer.folder / self.folder)
        try:
            words += trainer.load_state_dict(disk.load(path))
        except (RuntimeError, ValueError, KeyError) as error:
            raise PluginError(f"{path} is of another recipe: {error}") from error
        self.last = path.name
        return [*words, *differences(disk.manifest(path)["machine"])]


def name(trainer: Trainer) -> str:
    """Name a checkpoint so that names sort as the run goes: the end of an epoch after its step."""
    ended = "" if trainer.batches_used else f"-epoch-{trainer.epoch:04d}"
    return f"step-{trainer.step:08d}{ended}"


def latest(folder: Path) -> dict[str, Any]:
    """Return the newest undamaged state in a folder of checkpoints; PluginError if there is none.

    It has what `Trainer.load_state_dict` takes; the parameters alone are its "model".
    """
    return disk.load(newest(folder)[0])


def best(folder: Path) -> dict[str, Any]:
    """Return the undamaged state that was best by its monitor; without one, the newest."""
    sound = [path for path in disk.saved(folder) if not disk.damage(path)]
    if not sound:
        raise PluginError(f"there is no undamaged checkpoint in {folder}")
    return disk.load(ranked(sound)[0])


def ranked(paths: list[Path]) -> list[Path]:
    """Return checkpoints, the best first; of equals the newest first."""
    newest_first = list(reversed(paths))
    return sorted(newest_first, key=badness)


def badness(path: Path) -> float:
    """Return a number that is lower for a better checkpoint."""
    about = disk.manifest(path)
    if about["value"] is None:
        return inf
    return float(about["value"] if about["mode"] == "min" else -about["value"])


def newest(folder: Path) -> tuple[Path, list[str]]:
    """Return the newest undamaged checkpoint, and words about it and those that were not."""
    words: list[str] = []
    for path in reversed(disk.saved(folder)):
        if not (damage := disk.damage(path)):
            return path, [*words, f"goes on from {path}"]
        words.append(f"{path} is damaged ({damage}), so the one before it is used")
    raise PluginError("; ".join([f"there is no checkpoint to go on from in {folder}", *words]))


def set_aside(path: Path) -> None:
    """Keep a damaged checkpoint under another name; refuse to save beside one that is sound."""
    if not disk.damage(path):
        raise PluginError(
            f"{path} is of another run, or further on than this one: "
            "resume it, or save into another folder"
        )
    path.rename(path.with_name(f"damaged-{path.name}"))


def machine() -> dict[str, Any]:
    """Return what the bits of a result depend on, besides the recipe."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "CPU capability": torch.backends.cpu.get_cpu_capability(),
    }


def differences(before: dict[str, Any]) -> Iterator[str]:
    """Say why a run may go on with other bits than it would have had."""
    for what, now in machine().items():
        if before.get(what) != now:
            yield f"{what} was {before.get(what)} and is {now}: close, but perhaps not bit for bit"
