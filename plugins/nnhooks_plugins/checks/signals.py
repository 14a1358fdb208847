"""Signals that fade or swell on their way through the layers, forward or backward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import log10
from typing import Any

import torch
from torch import Tensor, nn

from nnhooks import Check

HUGE = 1e4  # a norm of all gradients
SWELLS = 100.0  # from the first to the last layer
FADES = 5.0  # powers of ten between the gradients of the layers at the two ends
FADED = 1e-7  # a norm of all gradients, compared with the loss
LAYERS = 4  # fewer say nothing of a way through layers

EXPLAINED = {
    "grad-explodes": """\
Gradients are larger than any step can use, because signals grow from layer to layer.

A layer of n inputs with weights of deviation s multiplies what passes by about s * sqrt(n):
with s = 1 and n = 64, six layers make 1 into 100 000. torch's own initialisation and
nn.init.kaiming_normal_ keep it near 1.

    nn.init.normal_(layer.weight, std=1.0)              # wrong
    nn.init.kaiming_normal_(layer.weight)               # right

In a recurrent network clip the gradients: nn.utils.clip_grad_norm_(parameters, 1.0).
""",
    "grad-vanishes": """\
The gradient fades on its way back, so that the layers it reaches last do not learn.

The derivative of a sigmoid is at most 1/4: through 12 of them at most 1/16 000 000 arrives.

    Sequential(Linear, Sigmoid, Linear, Sigmoid, ... twelve times)   # wrong
    Sequential(Linear, ReLU, ...)  with kaiming_normal_              # right

Residual connections (x + layer(x)) and normalisation layers keep the way open as well.
""",
}


class Signals(Check):
    """Finds gradients that are huge or faded while the loss gives no reason for it."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[float] = []  # of what passes between the layers of one forward
        self.times: Counter[str] = Counter()
        self.scaled = False

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.sizes = []

    def after_module(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        weight = getattr(module, "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim < 2 or not isinstance(output, Tensor):
            return
        if output.is_floating_point() and output.requires_grad and output.numel():
            self.sizes.append(size(output))

    def after_scale(self, scaler: Any, losses: Any) -> None:
        self.scaled = True

    def after_backward(self, losses: Sequence[Tensor]) -> None:
        if not self.watch.inspecting or self.scaled or losses[0].numel() != 1 or len(losses) > 1:
            return
        gradients = {
            name: parameter.grad
            for model in self.watch.models
            for name, parameter in model.named_parameters()
            if parameter.grad is not None and not parameter.grad.is_sparse
        }
        if not gradients:
            return
        norm = float(torch.stack([one.norm().float() for one in gradients.values()]).norm())
        self._too_large(norm, abs(float(losses[0].detach())))
        self._too_small(norm, abs(float(losses[0].detach())), gradients)

    def _too_large(self, norm: float, loss: float) -> None:
        grows = swelling(self.sizes)
        if not norm > HUGE or not (grows > SWELLS or norm > HUGE * max(loss, 1.0)):
            self.times["large"] = 0
            return
        self.times["large"] += 1
        if self.times["large"] == 2:
            self.find(
                "warning",
                "grad-explodes",
                "the gradients are huge: signals swell on their way through the layers",
                evidence=f"norm of all gradients {norm:.3g}, loss {loss:.3g}; what passes forward"
                f" grows {grows:.3g} times",
                way_out="begin with smaller weights (nn.init.kaiming_normal_), or normalise",
            )

    def _too_small(self, norm: float, loss: float, gradients: dict[str, Tensor]) -> None:
        layers = [(name, size(one)) for name, one in gradients.items() if one.ndim > 1]
        layers = [(name, one) for name, one in layers if one > 0]
        fades = fading([one for _, one in layers])
        faded = self.watch.step <= 5 and 0 < norm < FADED * loss
        if fades < FADES and not faded:
            self.times["small"] = 0
            return
        self.times["small"] += 1
        if self.times["small"] == 3 and not (self.watch.step > 5 and norm < FADED * loss):
            name, least = min(layers, key=lambda layer: layer[1], default=("", norm))
            self.find(
                "warning",
                "grad-vanishes",
                f"the gradient has all but vanished where it reaches {name or 'the weights'}",
                about=name,
                evidence=f"root mean square {least:.3g} there, norm of all gradients {norm:.3g}",
                way_out="use ReLU with kaiming_normal_, residual connections or normalisation",
            )


def size(tensor: Tensor) -> float:
    """Return the root mean square of a tensor's entries."""
    return float(tensor.detach().abs().float().square().mean().sqrt())


def swelling(sizes: Sequence[float]) -> float:
    """Return how many times what passes has grown, if it has grown nearly everywhere."""
    if len(sizes) < LAYERS or not sizes[0] > 0:
        return 0.0
    ways_up = sum(later > earlier for earlier, later in pairwise(sizes))
    return max(sizes) / sizes[0] if ways_up >= 0.7 * (len(sizes) - 1) else 0.0


def fading(sizes: Sequence[float]) -> float:
    """Return the powers of ten between the two ends, if layers fade one after the other."""
    if len(sizes) < LAYERS:
        return 0.0
    decades = [log10(one) for one in sizes]
    steps = [later - earlier for earlier, later in pairwise(decades)]
    same_way = max(sum(step > 0 for step in steps), sum(step < 0 for step in steps))
    return abs(decades[-1] - decades[0]) if same_way >= 0.8 * len(steps) else 0.0
