"""The mean training loss of each epoch, in plain PyTorch:

total = samples = 0
for inputs, target in batches:
    ...
    total += loss.detach() * len(target)
    samples += len(target)
print((total / samples).item())
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nnhooks import Trainer, hookimpl, samples
from nnhooks_plugins._mean import Mean


class Loss:
    """Logs `loss`: the mean over the samples of an epoch, each as it was when its turn came."""

    def __init__(self) -> None:
        self.mean = Mean()

    @hookimpl
    def on_epoch_start(self) -> None:
        self.mean.clear()

    @hookimpl
    def after_loss(self, output: Any, target: Any, loss: Tensor) -> None:
        self.mean.add(loss, times=samples((output, target)))

    @hookimpl
    def on_evaluate(self, trainer: Trainer) -> None:
        if (mean := self.mean.value) is not None:  # a train_step of one's own may announce no loss
            trainer.log("loss", mean)

    def state_dict(self) -> dict[str, Any]:
        return self.mean.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean.load_state_dict(state)
