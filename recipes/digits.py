"""A multilayer perceptron: linear layers with ReLU between them."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class MLP(nn.Module):
    """Map an image of pixels from 0 to 16 to the logits of its classes."""

    def __init__(self, inputs: int, outputs: int, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for width, next_width in pairwise([inputs, *hidden]):
            self.layers.extend([nn.Linear(width, next_width), nn.ReLU()])
        self.head = nn.Linear([inputs, *hidden][-1], outputs)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.layers(pixels / 16))
