"""Several processes: do they still train the same model, on different rows?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from nnhooks import Check

FIRST, EVERY = 5, 50  # steps in which the ranks compare; all have to come to the same ones

EXPLAINED = {
    "ranks-diverge": """The processes of a data-parallel run no longer hold the same parameters.

Each rank then trains a model of its own, and what is saved is that of rank 0 alone. The usual
causes: the bare model is called instead of its DistributedDataParallel wrapper, `no_sync()` is
left on, gradients are clipped or a step is skipped on one rank only, or gradients are averaged by
hand and nobody broadcast the parameters at the start.

    wrong   model = DistributedDataParallel(net); loss = loss_fn(net(x), y)
    right   model = DistributedDataParallel(net); loss = loss_fn(model(x), y)
""",
    "ranks-same-data": """Every process trains on the same rows.

Averaging equal gradients changes nothing: the run costs as many machines as there are ranks, and
learns like one of them.

    wrong   DataLoader(data, shuffle=False)
    right   DataLoader(data, sampler=DistributedSampler(data)), and sampler.set_epoch(epoch)
""",
}


class Ranks(Check):
    """Compares a few numbers of every rank in the first steps, and in one of fifty after that."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0.0
        self.began_equal: bool | None = None
        self.told = False

    def on_batch(self, inputs: Any, target: Any) -> None:
        self.told = True
        self.rows = fingerprint(inputs)

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not self.told and model.training and inputs:
            self.rows = fingerprint(inputs[0])

    def before_step(self, optimizer: Optimizer) -> None:
        if self.began_equal is None and several():
            self.began_equal = len({ours for ours, _ in self.compare(optimizer)}) == 1

    def after_step(self, optimizer: Optimizer) -> None:
        step = self.watch.steps[optimizer] + 1
        if not several() or (step > FIRST and step % EVERY) or len(self.watch.optimizers) > 1:
            return
        numbers = self.compare(optimizer)
        self.judge_parameters([ours for ours, _ in numbers])
        self.judge_rows([rows for _, rows in numbers])

    def compare(self, optimizer: Optimizer) -> list[tuple[float, float]]:
        """Return, for each rank, a number for its parameters and one for its rows."""
        ours = torch.tensor([checksum(optimizer), self.rows], dtype=torch.float64)
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        theirs = [
            torch.empty_like(ours, device=device) for _ in range(distributed.get_world_size())
        ]
        distributed.all_gather(theirs, ours.to(device))
        return [(float(one[0]), float(one[1])) for one in theirs]

    def judge_parameters(self, numbers: list[float]) -> None:
        """Report parameters that are not the same on every rank."""
        if len(set(numbers)) == 1:
            return
        self.find(
            "error" if self.began_equal or self.wrapped else "warning",
            "ranks-diverge",
            "the parameters are not the same on every rank",
            evidence=f"checksums {', '.join(f'{number:.17g}' for number in numbers)}",
            way_out="call the DistributedDataParallel wrapper, and treat gradients alike on all",
        )

    def judge_rows(self, rows: list[float]) -> None:
        """Report rows that every rank has been given."""
        if len(set(rows)) == 1 and rows[0]:
            self.find(
                "error" if self.wrapped else "warning",
                "ranks-same-data",
                f"all {len(rows)} ranks train on the same rows",
                way_out="give each rank its own share of them, by a DistributedSampler",
            )

    @property
    def wrapped(self) -> bool:
        """Whether a model is shared out by DistributedDataParallel."""
        return any(isinstance(model, DistributedDataParallel) for model in self.watch.models)


def several() -> bool:
    """Say whether there is more than one process."""
    return distributed.is_initialized() and distributed.get_world_size() > 1


def checksum(optimizer: Optimizer) -> float:
    """Return a number that changes with any parameter, and with their order."""
    total = torch.zeros((), dtype=torch.float64)
    for group in optimizer.param_groups:
        for number, parameter in enumerate(group["params"], 1):
            if type(parameter.data) is Tensor:  # what is sharded differs on purpose
                total = total * 0.5 + number * parameter.detach().double().sum().cpu()
    return float(total)


def fingerprint(value: Any) -> float:
    """Return a number for the rows of a batch; 0 for what is no tensor."""
    if not isinstance(value, Tensor) or not value.numel():
        return 0.0
    flat = value.detach().double().flatten()
    weights = torch.arange(1, flat.numel() + 1, device=flat.device, dtype=torch.float64)
    return float((flat * weights.sin()).sum())
