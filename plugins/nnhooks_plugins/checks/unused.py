"""Unused: parameters that an optimizer holds, but no loss ever changes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks import Check

from ._weights import contents, listed, owners, tensors

LOOKS = 5  # inspected steps of the parameter's own optimizer
STEPS = 8  # steps of it
LATER = 200  # of it, where others of the same kind are used in turn

EXPLAINED = {
    "param-unused": """\
A parameter is in the optimizer, but no loss has given it a gradient: its module is never called,
or called under `torch.no_grad()`, or what it gives is cut off by `.detach()`, `.data`, `.item()`
or numpy before it reaches the loss.

Wrong:
    hidden = self.encoder(x).detach()       # also: .data, torch.tensor(hidden), no_grad
    return self.head(hidden)

Right:
    return self.head(self.encoder(x))

If it is meant to be so, leave these parameters out of the optimizer.
""",
    "grad-always-zero": """\
The loss depends on a parameter, but its gradient is exactly zero in every step: between the two
is something flat, like `round`, `sign`, `argmax`, a comparison, a clamp out of its range, a
softmax over one element.

Wrong:
    gate = torch.sigmoid(self.gate(x)).round()          # its derivative is 0 everywhere

Right:
    soft = torch.sigmoid(self.gate(x))
    gate = soft + (soft.round() - soft).detach()        # straight through
""",
}


class Unused(Check):
    """Finds parameters without gradients, and with gradients that are always zero."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: Counter[Optimizer] = Counter()
        self.absent: Counter[int] = Counter()  # looks without a gradient, per parameter
        self.zero: Counter[int] = Counter()  # looks with nothing but zeros
        self.used: set[int] = set()
        self.calls: dict[int, str] = {}  # how modules were called

    def after_module(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if not module._parameters:
            return
        if not torch.is_grad_enabled():
            self.calls.setdefault(id(module), "is called, but under no_grad")
        elif any(one.requires_grad for one in contents(output)):
            self.calls[id(module)] = "is called, but what it gives is cut off before the loss"

    def before_step(self, optimizer: Optimizer) -> None:
        if self.watch.inspecting:
            self._look(optimizer)
        steps = self.watch.steps.get(optimizer, 0) + 1
        if self.looks[optimizer] >= LOOKS and (steps == STEPS or steps % LATER == 0):
            self._look(optimizer)
            self._judge(optimizer, steps)

    def on_end(self) -> None:
        for optimizer, steps in self.watch.steps.items():
            if self.looks[optimizer] >= LOOKS and steps < STEPS:
                self._judge(optimizer, steps)

    def _look(self, optimizer: Optimizer) -> None:
        own = [one for one in tensors(optimizer) if one.requires_grad]
        with_gradient = [one for one in own if one.grad is not None]
        if not with_gradient:
            return  # that is not about single parameters
        self.looks[optimizer] += 1
        self.absent.update(id(one) for one in own if one.grad is None)
        dense = [one for one in with_gradient if one.grad is not None and not one.grad.is_sparse]
        flat = zeros(dense)
        if len(flat) < len(with_gradient):
            self.zero.update(id(one) for one in flat)
            self.used.update({id(one) for one in with_gradient} - {id(one) for one in flat})

    def _judge(self, optimizer: Optimizer, steps: int) -> None:
        looks = self.looks[optimizer]
        own = [one for one in tensors(optimizer) if one.requires_grad and id(one) not in self.used]
        home = owners(self.watch.models)
        absent = [one for one in own if self.absent[id(one)] >= min(looks, LOOKS)]
        flat = [one for one in own if self.zero[id(one)] >= LOOKS and is_weight(one, home)]
        in_turn = self._used_in_turn()
        sure = [one for one in absent if id(one) in home and id(one) not in in_turn]
        unsure = [one for one in absent if id(one) in in_turn]
        if sure or (unsure and steps >= LATER):
            self._tell_absent(sure or unsure, home, steps)
        if flat:
            self._tell_flat(flat)

    def _used_in_turn(self) -> set[int]:
        """Return the parameters of modules in a list or dict of which another one is used."""
        result: set[int] = set()
        for model in self.watch.models:
            for module in model.modules():
                if isinstance(module, nn.ModuleList | nn.ModuleDict | nn.ParameterList):
                    children = list(module.children())
                    working = {type(one) for one in children if self._works(one)}
                    for child in children:
                        if type(child) in working and not self._works(child):
                            result.update(id(one) for one in child.parameters())
        return result

    def _works(self, module: nn.Module) -> bool:
        return any(id(one) in self.used for one in module.parameters())

    def _tell_absent(self, absent: list[Tensor], home: dict[int, nn.Module], steps: int) -> None:
        names = [self.watch.name(one) for one in absent]
        module = home[id(absent[0])]
        how = self.calls.get(id(module), "is never called")
        self.find(
            "warning",
            "param-unused",
            f"{listed(names)}: no loss gives a gradient; {type(module).__name__} {how}",
            about=names[0],
            evidence=f"{len(names)} parameters without a gradient in all of {steps} steps",
            way_out="let the loss depend on them, or leave them out of the optimizer",
        )

    def _tell_flat(self, flat: list[Tensor]) -> None:
        names = [self.watch.name(one) for one in flat]
        self.find(
            "warning",
            "grad-always-zero",
            f"the gradient of {listed(names)} is exactly zero in every step",
            about=names[0],
            evidence=f"all of {self.zero[id(flat[0])]} inspected steps",
            way_out="look for round, argmax, a comparison or a clamp between them and the loss",
        )


def zeros(parameters: list[Tensor]) -> list[Tensor]:
    """Return those whose gradient has nothing but zeros in it."""
    gradients = [one.grad for one in parameters if one.grad is not None and one.grad.numel()]
    if len(gradients) < len(parameters) or not gradients:
        return []
    sizes = torch._foreach_norm(gradients, torch.inf)
    return [one for one, size in zip(parameters, sizes, strict=True) if float(size) == 0.0]


def is_weight(one: Tensor, home: dict[int, nn.Module]) -> bool:
    """Say whether a gradient of zeros is no accident: biases cancel, first states are zero."""
    return one.dim() >= 2 and not isinstance(home.get(id(one)), nn.RNNBase | nn.RNNCellBase)
