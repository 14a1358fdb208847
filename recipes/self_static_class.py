"""One class with the three kinds of method Python has."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Model(nn.Module):
    """Weigh the inputs and add them up: y = x . w."""

    penalty = 0.1  # what a squared weight costs, in every instance

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    @classmethod
    def with_inputs(cls, inputs: int) -> Model:
        """Build a model whose weights are all zero: it makes an instance, so it needs the class."""
        return cls(torch.zeros(inputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w

    @staticmethod
    def squared_error(y_pred: Tensor, y: Tensor) -> Tensor:
        """Compare outputs with targets: the same for every model, so it needs no instance."""
        return ((y_pred - y) ** 2).mean()

    def penalized(self, y_pred: Tensor, y: Tensor) -> Tensor:
        """Add the price of large weights to the error: it needs the weights, so the instance."""
        return self.squared_error(y_pred, y) + self.penalty * self.w.square().sum()
