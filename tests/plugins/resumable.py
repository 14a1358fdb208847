"""A run with everything that makes resuming hard; as a script, it can be killed and taken up.

python resumable.py FOLDER KIND [--seed N] [--resume] [--kill-at STEP]
"""

import os
import random
import signal
import sys
from argparse import ArgumentParser
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset

from nnhooks import Batches, Trainer, hookimpl
from nnhooks_plugins.checkpoint import Checkpoint
from nnhooks_plugins.csv_log import CsvLog
from nnhooks_plugins.gradient_clipping import GradientClipping
from nnhooks_plugins.jsonl_log import JsonlLog
from nnhooks_plugins.lr_schedule import LrSchedule

EPOCHS, ROWS, STEPS_AN_EPOCH = 3, 38, 5  # of 4 rows a batch, 2 batches a step; the last are short


class Augmented(Dataset):
    """Rows that come out differently each time, by every generator there is."""

    def __len__(self):
        return ROWS

    def __getitem__(self, row):
        noise = torch.rand(3) + random.random() + np.random.rand()
        return noise + row / ROWS, torch.tensor([row % 2.0])


def batches(kind):
    if kind == "loader":
        return DataLoader(Augmented(), batch_size=4, shuffle=True)
    return Batches(Augmented(), 4, shuffle=True, workers=2 if kind == "workers" else 0)


def build(folder, kind, seed, *plugins, **options):
    """Build the run; `seed` only says what randomness it begins with."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.4), nn.Linear(8, 1))
    steps = EPOCHS * STEPS_AN_EPOCH
    named = {
        "lr_schedule": LrSchedule(partial(OneCycleLR, max_lr=0.1, total_steps=steps), "step"),
        "gradient_clipping": GradientClipping(0.5),
        "csv_log": CsvLog(),
        "jsonl_log": JsonlLog(every="step"),
        "checkpoint": Checkpoint(**options),
    } | {f"extra-{number}": plugin for number, plugin in enumerate(plugins)}
    return Trainer(
        model,
        nn.functional.mse_loss,
        partial(AdamW, lr=0.01),
        batches(kind),
        accumulate=2,
        plugins=named,
        folder=Path(folder),
    )


def fingerprint(trainer):
    """Hash all there is of a run: its whole state, and the files it wrote."""
    digest = sha256()
    add(digest, trainer.state_dict())
    for name in ("metrics.csv", "metrics.jsonl"):
        digest.update((trainer.folder / name).read_bytes())
    return digest.hexdigest()


def add(digest, value):
    """Feed a nested value into a hash, tensors by their bits."""
    if isinstance(value, torch.Tensor):
        digest.update(value.contiguous().numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            digest.update(str(key).encode())
            add(digest, value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            add(digest, item)
    else:
        digest.update(repr(value).encode())


class StopAt:
    """Interrupts, or kills, the process at the end of a step."""

    def __init__(self, step, kill=False):
        self.step, self.kill = step, kill

    @hookimpl
    def on_step_end(self, trainer):
        if trainer.step != self.step:
            return
        if self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        trainer.interrupt("enough for now")


def main():
    parser = ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--kill-at", type=int, default=-1)
    given = parser.parse_args()

    torch.set_num_threads(1)
    killer = StopAt(given.kill_at, kill=True)
    trainer = build(given.folder, given.kind, given.seed, killer, unit="step", every=2)
    if given.resume:
        trainer.plugins.by_name()["checkpoint"].resume(trainer)
    trainer.fit(EPOCHS)
    sys.stdout.write(fingerprint(trainer))


if __name__ == "__main__":
    main()
