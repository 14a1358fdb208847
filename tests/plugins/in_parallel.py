"""What each of several processes does in the tests of data_parallel.

torchrun --nproc-per-node 2 in_parallel.py FOLDER
"""

import os
import sys
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.optim import SGD

from nnhooks import Interrupted, Trainer, hookimpl
from nnhooks_plugins.checkpoint import Checkpoint
from nnhooks_plugins.data_parallel import DataParallel
from nnhooks_plugins.gradient_clipping import GradientClipping
from nnhooks_plugins.jsonl_log import JsonlLog
from nnhooks_plugins.loss import Loss

EPOCHS = 3


def train(folder, *plugins, model=None, sizes=(4, 4, 5, 4, 1), accumulate=2, epochs=EPOCHS):
    """Train on batches of these sizes; 5 and 1 cannot be shared out evenly, the last not at all."""
    torch.manual_seed(0)
    batches = [(torch.randn(size, 2), torch.randn(size, 1)) for size in sizes]
    trainer = Trainer(
        model or nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)),
        nn.functional.mse_loss,
        partial(SGD, lr=0.1),
        batches,
        accumulate=accumulate,
        plugins=[*plugins, Loss(), GradientClipping(0.5), JsonlLog(), Checkpoint()],
        folder=folder,
    )
    try:
        trainer.fit(epochs)
    except Interrupted:
        return trainer, True
    return trainer, False


class InterruptRank:
    """Interrupts one process only, in its fourth step."""

    def __init__(self, rank):
        self.rank = rank

    @hookimpl
    def after_backward(self, trainer):
        if trainer.step == 4 and os.environ["RANK"] == str(self.rank):
            trainer.interrupt("SIGTERM")


class Masks(nn.Module):
    """Remembers which of its inputs dropout has dropped."""

    def __init__(self):
        super().__init__()
        self.drawn = []

    def forward(self, inputs):
        self.drawn.append(nn.functional.dropout(torch.ones(8), training=self.training).tolist())
        return inputs


class Buffers:
    """Remembers the model as it was at the end of the last epoch."""

    @hookimpl
    def on_epoch_end(self, trainer):
        self.model = deepcopy(trainer.model.module.state_dict())


def plain(folder):
    """Train with windows of two batches; tell parameters and metrics."""
    trainer, _ = train(folder, DataParallel(timeout=30))
    return {"model": trainer.model.state_dict(), "metrics": trainer.metrics}


def random(folder):
    """Train with BatchNorm and dropout, and interrupt one process; tell what became of it."""
    model = nn.Sequential(nn.BatchNorm1d(2), masks := Masks(), nn.Linear(2, 1))
    seen = [DataParallel(timeout=30), InterruptRank(1), buffers := Buffers()]
    trainer, interrupted = train(folder, *seen, model=model, sizes=(4, 8), accumulate=1)
    return {
        "step": trainer.step,
        "interrupted": interrupted,
        "masks": masks.drawn,
        "random": torch.get_rng_state(),
        "buffers": buffers.model,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[2])
    told = {"plain": plain, "random": random}[sys.argv[1]](folder)
    torch.save(told, folder / f"rank-{os.environ['RANK']}.pt")
