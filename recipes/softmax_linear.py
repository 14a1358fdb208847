"""The founding model: softmax over a linear layer, with the loss as a static method."""

import torch
from torch import Tensor, nn


class Model(nn.Module):
    """Map two features to three outputs that are positive and sum to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.1, 0.2], [0.2, 0.3], [0.1, 0.3]]))
        self.b = nn.Parameter(torch.tensor([0.0, 0.1, 0.2]))
        self.softmax = nn.Softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        return self.softmax((x @ self.w.t() + self.b).squeeze())

    @staticmethod
    def loss(y_pred: Tensor, y: Tensor) -> Tensor:
        # (3, 3) minus (3,): every row of outputs is compared with the three targets of the batch.
        # MSELoss computes the same number, and warns of the broadcasting.
        return ((y_pred - y) ** 2).mean()
