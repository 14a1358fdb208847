"""An embedding with sparse gradients, and a plugin that trains its dense twin beside it."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam

from nnhooks import Trainer, hookimpl


class Model(nn.Module):
    """Score a text: the sum of everything its words' vectors say."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, width, sparse=True)

    def forward(self, words: Tensor) -> Tensor:
        return self.embedding(words.long()).sum(dim=(1, 2))


class DenseTwin:
    """Trains a copy with dense gradients beside the model; logs how far the two are apart."""

    @hookimpl
    def on_fit_start(self, trainer: Trainer) -> None:
        self.model = deepcopy(trainer.model)
        self.model.embedding.sparse = False
        self.optimizer = Adam(self.model.parameters(), lr=trainer.optimizer.defaults["lr"])

    @hookimpl
    def on_step_start(self, trainer: Trainer, batches: Sequence[Any]) -> None:
        [(inputs, target)] = batches
        self.optimizer.zero_grad()
        trainer.loss(self.model(inputs), target).backward()
        self.optimizer.step()

    @hookimpl
    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.step > 1:
            return
        print(f"{'gradient':8} {'shape':>10} {'values':>7} {'indices':>8} {'bytes':>7}")
        for name, model in [("dense", self.model), ("sparse", trainer.model)]:
            gradient = model.embedding.weight.grad
            values, indices = stored(gradient)
            shape, size = tuple(gradient.shape), values.nbytes + indices.nbytes
            print(f"{name:8} {shape!s:>10} {values.numel():7} {indices.numel():8} {size:7}")

    @hookimpl
    def on_evaluate(self, trainer: Trainer) -> None:
        apart = trainer.model.embedding.weight - self.model.embedding.weight
        trainer.log("twins_apart", apart.abs().max().item())


def stored(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return what a gradient stores: its values and, if it is sparse, where they belong."""
    if not gradient.is_sparse:
        return gradient, torch.empty(0)
    gradient = gradient.coalesce()  # a word that occurs twice is stored once
    return gradient.values(), gradient.indices()
