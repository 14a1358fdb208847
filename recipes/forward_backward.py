"""A two-layer net small enough for paper, and a plugin that prints both directions of its step."""

import torch
from torch import Tensor, nn

from nnhooks import Trainer, hookimpl


class TwoLayers(nn.Module):
    """Linear, ReLU, linear; the weights are whole numbers, to calculate with on paper."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, 2, bias=False)
        self.relu = nn.ReLU()
        self.output = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.hidden.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, -1.0]]))
            self.output.weight.copy_(torch.tensor([[2.0, 1.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.relu(self.hidden(x)))


class SideBySide:
    """Prints each layer's output next to the gradient that came back to it."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    @hookimpl
    def on_fit_start(self, trainer: Trainer) -> None:
        for name, layer in trainer.model.named_children():
            layer.register_forward_hook(
                lambda layer, inputs, output, name=name: self.remember(name, output)
            )

    @hookimpl
    def before_forward(self, inputs: Tensor) -> None:
        self.values = {"inputs": inputs}

    @hookimpl
    def after_loss(self, loss: Tensor) -> None:
        self.remember("loss", loss)

    @hookimpl
    def after_backward(self, trainer: Trainer) -> None:
        print(f"{'':14} {'forward (read down)':26} backward (read up)")
        for name, value in [*self.values.items(), *trainer.model.named_parameters()]:
            gradient = "" if value.grad is None else value.grad.tolist()
            print(f"{name:14} {value.tolist()!s:26} {gradient}".rstrip())

    def remember(self, name: str, value: Tensor) -> None:
        self.values[name] = value
        if value.requires_grad:
            value.retain_grad()  # PyTorch keeps the gradients of parameters only, unless asked
