"""The same model in several processes, each with its share of every batch.

In plain PyTorch:

    torch.distributed.init_process_group(backend)
    model = DistributedDataParallel(model)
    for inputs, target in batches:
        loss = loss_fn(model(inputs[rank::world]), target[rank::world])
        (loss * own_samples * world / all_samples).backward()      # DDP averages the gradients
        ...
    torch.distributed.destroy_process_group()
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from nnhooks import Batch, PluginError, Trainer, hookimpl, mapped, samples

TORCHRUN = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


class DataParallel:
    """Shares every batch out to the processes that `torchrun` has started; rank 0 speaks for all.

    The batches are the recipe's, whatever the number of processes: rank r of n uses the rows
    r, r + n, ... of each, and every sample weighs the same in a gradient that is talked about once
    a step. Validation is not shared out: each rank measures the same. `on_log` and the loss that
    hooks see are a rank's own; the metrics of an epoch are the mean over all ranks. A plugin's
    `trainer.stop` must depend on nothing but them, or the others wait for `timeout` seconds.
    An epoch that was taken up in its middle knows the metrics of rank 0 up to there, not all.
    BatchNorm normalizes over a rank's own rows, and keeps the statistics of rank 0.
    """

    def __init__(
        self,
        backend: Literal["auto", "gloo", "nccl"] = "auto",
        timeout: Annotated[int, Ge(1)] = 300,
    ) -> None:
        self.backend, self.timeout = backend, timedelta(seconds=timeout)
        self.factors: deque[float] = deque()
        self.rows = 0
        self.interrupt_reason = ""

    @hookimpl(trylast=True)  # the model is where it will be, and batches come as they are used
    def on_setup(self, trainer: Trainer) -> None:
        refuse_unless_torchrun()
        on_gpu = next(trainer.model.parameters()).is_cuda
        backend = ("nccl" if on_gpu else "gloo") if self.backend == "auto" else self.backend
        distributed.init_process_group(backend, timeout=self.timeout)
        self.rank, self.world = distributed.get_rank(), distributed.get_world_size()
        self.talk = distributed.new_group(backend="gloo", timeout=self.timeout)  # no GPU waits
        trainer.is_main = self.rank == 0
        trainer.model = self.model = DistributedDataParallel(trainer.model)
        trainer.batches = mapped(trainer.batches, self.share)

    def share(self, batch: Batch) -> Batch:
        """Return this rank's rows of a batch; one row that will not count if there is none."""
        (inputs, target), count = batch, samples(batch)
        idle = count <= self.rank
        part = slice(0, 1) if idle else slice(self.rank, None, self.world)
        own = rows(inputs, part, count), rows(target, part, count)
        return Idle(own) if idle else own

    @hookimpl
    def on_fit_start(self) -> None:
        if not distributed.is_initialized():
            raise PluginError("data_parallel serves one `fit`: its processes have parted")
        state = torch.get_rng_state()
        distributed.broadcast(state, 0, group=self.talk)
        torch.set_rng_state(state)

    @hookimpl
    def on_step_start(self, trainer: Trainer, batches: Sequence[Batch]) -> None:
        own = sum(samples(batch) for batch in batches if not isinstance(batch, Idle))
        total, interrupted = self.summed(own, bool(self.interrupt_reason))
        self.all_end = interrupted > 0
        if self.all_end:
            trainer.interrupt(self.interrupt_reason or "another process was interrupted")
        self.rows += own

        seen = sum(samples(batch) for batch in batches)  # what the Trainer takes the mean over
        factor = self.world * seen / total
        self.factors.extend(0.0 if isinstance(batch, Idle) else factor for batch in batches)
        self.part_randomness()

    def summed(self, *numbers: float) -> list[float]:
        """Return each number's sum over all ranks."""
        together = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(together, group=self.talk)
        return together.tolist()

    def part_randomness(self) -> None:
        """Let each rank draw its own dropout in this step, from a stream that all can foresee."""
        seed = int(torch.randint(2**62, ()))
        self.common = torch.get_rng_state()
        torch.manual_seed(seed + self.rank)

    @hookimpl
    def before_forward(self) -> None:
        self.model.require_backward_grad_sync = len(self.factors) == 1  # talk only once a step

    @hookimpl
    def after_loss(self, loss: Tensor) -> None:
        factor = self.factors.popleft()
        if factor != 1:
            loss.register_hook(lambda gradient: gradient * factor)

    @hookimpl
    def on_step_end(self, trainer: Trainer) -> None:
        torch.set_rng_state(self.common)
        if not self.all_end:  # who ended here alone would be waited for: ask all, in the next step
            self.interrupt_reason, trainer.interrupt_reason = trainer.interrupt_reason, ""

    @hookimpl(wrapper=True)
    def on_evaluate(self, trainer: Trainer) -> Generator[None, Any, Any]:
        for buffer in self.model.buffers():
            distributed.broadcast(buffer, 0)  # all should measure the same model
        result = yield
        trainer.metrics.update(self.mean(trainer.metrics))
        self.rows = 0
        return result

    def mean(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return each metric's mean over all ranks, by the rows they have seen in this epoch."""
        told: list[Any] = [None] * self.world
        distributed.all_gather_object(told, (self.rows, dict(metrics)), group=self.talk)
        means = {}
        for name in metrics:
            known = [(count, theirs[name]) for count, theirs in told if name in theirs]
            total = sum(count for count, _ in known)
            means[name] = sum(count * float(value) for count, value in known) / total
        return means

    @hookimpl(trylast=True)  # others may still ask the model
    def on_fit_end(self, trainer: Trainer) -> None:
        trainer.model = self.model.module
        distributed.destroy_process_group()


class Idle(tuple[Any, Any]):
    """A batch that keeps a rank in step with the others, and counts for nothing."""


def refuse_unless_torchrun() -> None:
    """Raise PluginError, saying how to start, in a process that is alone."""
    if missing := TORCHRUN - os.environ.keys():
        raise PluginError(
            f"data_parallel needs several processes (there is no {min(missing)}): start it with "
            "`torchrun --nproc-per-node 2 --no-python nnhooks run RECIPE`"
        )


def rows(value: Any, part: slice, count: int) -> Any:
    """Return some of the `count` rows of a batch, however its tensors are nested."""
    if isinstance(value, Mapping):
        return {key: rows(item, part, count) for key, item in value.items()}
    if isinstance(value, tuple | list) and has_rows(value, count):
        items = [rows(item, part, count) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value[part] if isinstance(value, Tensor | tuple | list) else value


def has_rows(value: Any, count: int) -> bool:
    """Say whether every tensor in this has `count` rows; a list of samples has other lengths."""
    if isinstance(value, Tensor):
        return value.dim() > 0 and len(value) == count
    items = list(value.values()) if isinstance(value, Mapping) else value
    return (
        isinstance(items, tuple | list) and bool(items) and all(has_rows(i, count) for i in items)
    )
