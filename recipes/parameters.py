"""A linear layer written by hand: two parameters and one line of arithmetic."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    """Map three features to two outputs: y = x w^T + b."""

    def __init__(self) -> None:
        super().__init__()
        # Assigning an nn.Parameter registers it: `model.parameters()` finds it, and so does the
        # optimizer. A plain tensor assigned here would take part in the forward pass, never learn.
        self.w = nn.Parameter(torch.randn(2, 3))
        self.b = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w.t() + self.b
