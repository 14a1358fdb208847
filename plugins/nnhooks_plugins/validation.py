"""The loss on data that is held out, in plain PyTorch:

model.eval()
with torch.no_grad():
    for inputs, target in validation:
        total += loss_fn(model(inputs), target) * len(target)
        samples += len(target)
model.train()
print((total / samples).item())
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge

from nnhooks import DataError, PluginError, Trainer, hookimpl, predictions, samples
from nnhooks_plugins._mean import Mean


class Validation:
    """Asks the model about the validation batches after every `every`-th epoch.

    Logs `validation/loss`, the mean over the samples, and announces each batch, so that other
    plugins can measure on it too. Training with and without it ends in the same parameters.
    """

    def __init__(self, every: Annotated[int, Ge(1)] = 1) -> None:
        self.every = every

    @hookimpl(trylast=True)  # whoever brings batches has brought them
    def on_setup(self, trainer: Trainer) -> None:
        if trainer.validation is None:
            raise PluginError(
                "validation has no batches: give the recipe's data a share, `validation: 0.2`, "
                "or the Trainer `validation=batches`"
            )

    @hookimpl(tryfirst=True)  # who logs a validation metric has to have seen all of its batches
    def on_evaluate(self, trainer: Trainer, epoch: int) -> None:
        if epoch % self.every or trainer.validation is None:
            return
        mean = Mean()
        with randomness_kept():
            for output, target in predictions(trainer.model, trainer.validation):
                with torch.no_grad():
                    loss = trainer.loss(output, target)
                mean.add(loss, times=samples((output, target)))
                trainer.hook.on_validation_batch(
                    trainer=trainer, output=output, target=target, loss=loss
                )
        if mean.value is None:
            raise DataError(f"epoch {epoch} got no validation batch: nothing to measure on")
        trainer.log("validation/loss", mean.value)


@contextmanager
def randomness_kept() -> Iterator[None]:
    """Draw random numbers inside without training noticing: reading data may draw some."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
