"""Checkpoints: whether what is kept is a copy, whole, and what comes back when it is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import ref

from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks import Check


@dataclass(frozen=True)
class Kept:
    """A state that somebody keeps: its tensors, and at which step it was taken."""

    tensors: Sequence[ref[Tensor]]
    steps: int
    written: list[bool]  # whether it has reached a file at once
    told: bool = False


class Checkpoints(Check):
    """Looks at states when they are taken, kept, written and loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Kept] = []

    def after_state_dict(self, module: nn.Module, state: Any) -> None:
        if any(module is model for model in self.watch.models):
            self._keep(list(tensors(state)), told=False)

    def on_saved(self, state: Any) -> None:
        self._keep(list(tensors(state)), told=True)
        self._look_whether_whole(state, told=True)

    def after_save(self, content: Any) -> None:
        mine = {id(tensor) for tensor in tensors(content)}
        for kept in self.kept:
            alive = [tensor for one in kept.tensors if (tensor := one()) is not None]
            if not any(id(tensor) in mine for tensor in alive):
                continue
            if kept.steps == self._steps():
                kept.written.append(True)
            elif not kept.written and self._aliased(alive):
                self._alias("what is saved now", kept)
        self._look_whether_whole(content, told=False)

    def after_load(self, module: nn.Module, state: Any, report: Any) -> None:
        self.on_loaded(report)
        own = {one.data_ptr() for one in module.state_dict().values() if isinstance(one, Tensor)}
        given = [one for one in tensors(state) if one.numel()]
        if given and all(one.data_ptr() in own for one in given) and self._steps():
            kept = next((k for k in self.kept if any(t() is given[0] for t in k.tensors)), None)
            if kept is None or kept.steps < self._steps():
                self._alias("what is loaded", kept)
        elif not any(self.watch.steps.values()):
            self._look_at_values(given)

    def on_loaded(self, report: Any) -> None:
        missing = list(getattr(report, "missing_keys", ()))
        unexpected = list(getattr(report, "unexpected_keys", ()))
        if not missing:
            return
        names = {name for model in self.watch.models for name in model.state_dict()}
        nothing = bool(names) and names <= set(missing)
        self.find(
            "error" if nothing else "warning" if 2 * len(missing) > len(names) else "note",
            "ckpt-missing-keys",
            "nothing was loaded: no name in the checkpoint is one of the model's"
            if nothing
            else "parts of the model were not in the checkpoint and keep what they had",
            about=missing[0],
            evidence=f"{len(missing)} missing, such as {missing[0]}; {len(unexpected)} not asked "
            f"for{', such as ' + unexpected[0] if unexpected else ''}",
            way_out="give the names the model's prefix, and load with strict=True",
        )

    def after_step(self, optimizer: Optimizer) -> None:
        for kept in self.kept:
            if kept.told and not kept.written:
                alive = [tensor for one in kept.tensors if (tensor := one()) is not None]
                if alive and self._aliased(alive):
                    self._alias("the checkpoint that is kept", kept)
        self.kept = [k for k in self.kept[-16:] if any(one() is not None for one in k.tensors)]

    # What is judged

    def _keep(self, found: list[Tensor], *, told: bool) -> None:
        own = self._own()
        mine = [ref(tensor) for tensor in found if tensor.data_ptr() in own and tensor.numel()]
        if mine:
            self.kept.append(Kept(mine, self._steps(), [], told))

    def _aliased(self, alive: Sequence[Tensor]) -> bool:
        own = self._own()
        return any(tensor.data_ptr() in own for tensor in alive)

    def _alias(self, what: str, kept: Kept | None) -> None:
        since = f"taken {self._steps() - kept.steps} steps ago; " if kept else ""
        self.find(
            "error",
            "ckpt-aliased",
            f"{what} is no copy: it has changed with every step since it was taken",
            evidence=f"{since}its tensors lie in the memory of the model's own",
            way_out="copy.deepcopy(model.state_dict()), or write it to a file at once",
        )

    def _look_whether_whole(self, content: Any, *, told: bool) -> None:
        states = list(dicts(content))
        for model in self.watch.models:
            names = {name for name, one in model.state_dict().items() if isinstance(one, Tensor)}
            parameters = {name for name, _ in model.named_parameters()}
            for state in states:
                have = {str(name).removeprefix("module.") for name in state}
                missing = names - have
                if missing and parameters and parameters <= have:
                    self._incomplete(sorted(missing), "buffers")
        if told or is_for_resuming(content):
            self._look_for_optimizer(states)

    def _incomplete(self, missing: list[str], what: str) -> None:
        self.find(
            "error",
            "ckpt-incomplete",
            f"{what} of the model are not in the checkpoint",
            about=missing[0],
            evidence=f"{len(missing)} missing, such as {missing[0]}",
            way_out="keep model.state_dict(), not only the parameters",
        )

    def _look_for_optimizer(self, states: Sequence[Mapping[Any, Any]]) -> None:
        with_state = [one for one in self.watch.optimizers if carries_state(one)]
        has = any("param_groups" in state and "state" in state for state in states)
        whole_model = any(
            {name for name, _ in model.named_parameters()}
            <= {str(name).removeprefix("module.") for name in state}
            for model in self.watch.models
            for state in states
        )
        if with_state and not has and whole_model:
            self.find(
                "warning",
                "ckpt-no-optimizer",
                "the checkpoint has no state of the optimizer: training could not go on from it "
                "as if it had never stopped",
                evidence=f"{type(with_state[0]).__name__} keeps "
                f"{', '.join(state_names(with_state[0]))}",
                way_out="keep optimizer.state_dict() too",
            )

    def _look_at_values(self, given: Sequence[Tensor]) -> None:
        for tensor in given:
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                self.find(
                    "error",
                    "ckpt-nonfinite",
                    "the checkpoint that is loaded holds NaN or infinity",
                    evidence=f"{int((~tensor.isfinite()).sum())} values of a tensor "
                    f"{tuple(tensor.shape)}",
                    way_out="go back to a checkpoint from before the loss became NaN",
                )
                return

    def _own(self) -> set[int]:
        return {
            one.data_ptr()
            for model in self.watch.models
            for one in [*model.parameters(), *model.buffers()]
            if one.numel()
        }

    def _steps(self) -> int:
        return sum(self.watch.steps.values())


def dicts(content: Any, depth: int = 4) -> Iterator[Mapping[Any, Any]]:
    """Yield a dict and all dicts within it."""
    if isinstance(content, Mapping) and depth:
        yield content
        for one in content.values():
            yield from dicts(one, depth - 1)


def tensors(content: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested dicts."""
    for state in dicts(content):
        yield from (one for one in state.values() if isinstance(one, Tensor))


def is_for_resuming(content: Any) -> bool:
    """Say whether what is written is meant to train on from: it says how far training has come."""
    return isinstance(content, Mapping) and bool(
        {"epoch", "step", "iteration", "epochs", "global_step"} & {str(name) for name in content}
    )


def carries_state(optimizer: Optimizer) -> bool:
    """Say whether an optimizer remembers more than its settings."""
    return bool(state_names(optimizer))


def state_names(optimizer: Optimizer) -> list[str]:
    """Return what an optimizer remembers of a parameter."""
    for state in optimizer.state.values():
        if isinstance(state, dict):
            names = [name for name, one in state.items() if isinstance(one, Tensor)]
            return [str(name) for name in names if name != "step"]
    return []


EXPLAINED: dict[str, str] = {
    "ckpt-aliased": """\
state_dict() gives the model's own tensors; kept without copying they change with each step.

Wrong:

    best = model.state_dict()

Right:

    best = copy.deepcopy(model.state_dict())
""",
    "ckpt-no-optimizer": """\
Without the optimizer's moments training cannot go on as if it had never stopped.

Wrong:

    save({"epoch": epoch, "model": model.state_dict()})

Right:

    save({"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()})
""",
    "ckpt-incomplete": """\
Parameters are kept, and buffers such as BatchNorm's statistics are not.

Wrong:

    dict(model.named_parameters())

Right:

    model.state_dict()
""",
    "ckpt-missing-keys": """\
strict=False loads what has a known name, and here that is little or nothing.

Wrong:

    model.load_state_dict(state, strict=False)  # of "module.0.weight"

Right:

    state = {name.removeprefix("module."): one for name, one in state.items()}
    model.load_state_dict(state)
""",
    "ckpt-nonfinite": """\
The checkpoint that is loaded holds NaN or infinity.

Wrong:

    save(model.state_dict())  # whatever the loss is

Right:

    if loss.isfinite():
        save(model.state_dict())
""",
}
