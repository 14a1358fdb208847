"""Units that do nothing, or all the same: a layer is there, and might as well not be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import ref

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks import Check

STEPS = 3  # in a row that have to show it
MOST = 0.9  # of the units, or of their values
ALIKE = 1e-4  # a difference between units, relative to their weights

RELU = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
TANH = {torch.tanh, Tensor.tanh, Tensor.tanh_}
SIGMOID = {torch.sigmoid, Tensor.sigmoid, Tensor.sigmoid_}

EXPLAINED = {
    "dead-units": """\
A ReLU gives nothing but zeros, whatever comes in; behind it nothing can be learnt.

Where a ReLU gives 0 its gradient is 0 too, so units that never fire never recover. Usual
causes: a bias far below zero, a learning rate that threw the weights over, inputs of a huge
scale in one direction.

    nn.init.constant_(layer.bias, -50.0)                # wrong
    nn.init.zeros_(layer.bias)                          # right; or LeakyReLU, GELU
""",
    "saturated": """\
Nearly all values of a tanh or sigmoid inside the network are at its flat ends.

There its slope is almost 0, and so is the gradient that comes through. Weights or inputs of a
far too large scale do that.

    nn.init.normal_(layer.weight, std=30.0)             # wrong
    nn.init.xavier_normal_(layer.weight)                # right; and normalised inputs
""",
    "symmetric-weights": """\
All units of a layer have the same weights and get the same gradient: they stay one unit.

What is equal and is treated equally remains equal for ever. Weights have to begin at random;
only biases, normalisation scales and last layers may begin constant.

    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.05)              # wrong
    nn.init.kaiming_normal_(layer.weight)               # right
""",
    "output-constant": """\
The model answers the same for every row of a batch, though the rows differ.

A softmax over an axis of one entry is always 1; a layer that died or saturated hides its
input; an answer may be made of something else than the input.

    nn.Sequential(nn.Linear(10, 1), nn.Softmax(dim=1))  # wrong: always 1
    nn.Sequential(nn.Linear(10, 1), nn.Sigmoid())       # right
""",
    "no-nonlinearity": """\
One Linear feeds the next with nothing between: together they are no more than one Linear.

    nn.Sequential(nn.Linear(10, 32), nn.Linear(32, 4))              # wrong
    nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))   # right

A bottleneck (LoRA, a low rank factorisation, a linear autoencoder) means something: there the
middle is smaller than both ends, and this check is silent.
""",
}


class Units(Check):
    """Finds layers whose units are dead, saturated, all alike, or merely linear."""

    def __init__(self) -> None:
        super().__init__()
        self.model: nn.Module | None = None  # whose forward runs
        self.calls = 0  # of activations in this forward
        self.times: Counter[object] = Counter()  # in a row
        self.quiet: dict[object, Tensor] = {}  # for how many calls each unit has not fired
        self.flat: dict[object, int] = {}  # saturated in this forward: where the values lie
        self.parents: dict[int, nn.Module] = {}
        self.linear: tuple[Any, nn.Linear] | None = None  # the last Linear's answer
        self.joined: list[tuple[Any, nn.Linear, nn.Linear]] = []  # which went into another

    # The values of activations

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.watch.inspecting:
            self.model, self.calls, self.linear = model, 0, None
            self.flat.clear()
            self.joined.clear()

    def after_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        if self.model is None or not isinstance(result, Tensor) or not result.requires_grad:
            return
        if function is not F.linear and (self.linear or self.joined):
            self._used(list_of(arguments))
        kind = next((kind for kind in (RELU, TANH, SIGMOID) if function in kind), None)
        if kind is None or result.ndim < 2 or not result.numel():
            return
        self.calls += 1
        key = (id(self.model), self.calls)
        if kind is RELU:
            self._fires(key, result.detach())
        elif self.watch.step <= 5:
            value = result.detach().float()
            off = value.abs() if kind is TANH else (value - 0.5).abs() * 2
            if value.shape[-1] >= 4 and float((off > 0.98).float().mean()) > MOST:
                self.flat[key] = result.data_ptr()
            else:
                self.times["flat", key] = 0

    def _fires(self, key: object, result: Tensor) -> None:
        """Keep which units have fired, and which have not for some time."""
        axis = 1 if result.ndim > 3 else result.ndim - 1
        fired = (result != 0).transpose(axis, -1).flatten(0, -2).any(0)
        quiet = self.quiet.get(key, torch.zeros_like(fired, dtype=torch.long))
        if len(fired) < 4 or quiet.shape != fired.shape:
            return
        quiet = torch.where(fired, 0, quiet + 1)
        self.quiet[key] = quiet
        dead = float((quiet >= STEPS).float().mean())
        if dead > MOST:
            self.find(
                "warning",
                "dead-units",
                "units of a ReLU are dead: they give 0 for every row, step after step",
                evidence=f"{dead:.0%} of {len(fired)} units, {STEPS} times in a row",
                way_out="look at the biases and the learning rate before it; or use LeakyReLU",
            )

    # The answer of a model

    def after_forward(self, model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not self.watch.inspecting:
            return
        answers = [one for one in list_of(output) if isinstance(one, Tensor)]
        self._used(answers)
        self._linear()
        self.model = self.linear = None
        self._saturated({one.data_ptr() for one in answers})
        if len(answers) == 1 and torch.is_grad_enabled() and learns(self.watch.optimizers):
            self._constant(model, [one for one in inputs if isinstance(one, Tensor)], answers[0])

    def _saturated(self, answers: set[int]) -> None:
        for key, place in self.flat.items():
            self.times["flat", key] += place not in answers  # an answer may be sure of itself
            if self.times["flat", key] == STEPS:
                self.find(
                    "warning",
                    "saturated",
                    "a tanh or sigmoid inside the network is saturated: its slope is nearly 0",
                    evidence=f"over {MOST:.0%} of its values within 1% of an end in {STEPS} steps",
                    way_out="begin with smaller weights (nn.init.xavier_normal_), scale the inputs",
                )
        self.flat.clear()

    def _constant(self, model: nn.Module, inputs: list[Tensor], output: Tensor) -> None:
        """Look whether rows that differ get the same answer, once a zero head has had time."""
        if len(inputs) != 1 or not output.requires_grad or not output.is_floating_point():
            return
        rows, answers = inputs[0].detach(), output.detach()
        if output.ndim < 2 or rows.ndim < 1 or len(rows) != len(answers) or len(rows) < 4:
            return
        key = ("constant", id(model))
        self.times[key] = self.times[key] + 1 if alike(answers) and not alike(rows) else 0
        if self.times[key] > STEPS and not self.found:
            self.find(
                "warning",
                "output-constant",
                "the model gives the same answer for every row, though the rows differ",
                evidence=f"{len(rows)} rows in each of {STEPS + 1} steps",
                way_out="look for a softmax over one entry, dead layers, an input that is not used",
            )

    # The weights themselves

    def before_step(self, optimizer: Optimizer) -> None:
        if not self.watch.inspecting:
            return
        weights = [p for group in optimizer.param_groups for p in group["params"] if p.ndim > 1]
        unmoved = 0
        for weight in weights:
            same = weight.grad is not None and symmetric(weight, weight.grad)
            self.times[id(weight)] = self.times[id(weight)] + 1 if same else 0
            if self.times[id(weight)] < STEPS:
                continue
            stuck = not bool(weight.grad.any())
            unmoved += stuck
            if not stuck or unmoved > 1:
                name = self.watch.name(weight)
                self.find(
                    "warning",
                    "symmetric-weights",
                    f"all units of {name} are the same, and are treated the same: they stay one",
                    about=name,
                    evidence=f"{STEPS} steps with equal weights and equal gradients",
                    way_out="initialise weights at random; only biases may begin constant",
                )

    # What lies between layers

    def after_module(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not isinstance(module, nn.Linear) or not output.requires_grad or self.model is None:
            return
        before, self.linear = self.linear, (ref(output), module)
        if before is None or not inputs or before[0]() is not inputs[0]:
            return
        first = before[1]
        bottleneck = first.out_features < min(first.in_features, module.out_features)
        if not bottleneck and self._siblings(first, module):
            self.joined.append((before[0], first, module))

    def _used(self, values: Sequence[Any]) -> None:
        """Forget a Linear's answer that serves something else than the next Linear."""
        used = {id(value) for value in values}
        self.joined = [one for one in self.joined if id(one[0]()) not in used]
        if self.linear and id(self.linear[0]()) in used:
            self.linear = None

    def _linear(self) -> None:
        for _, first, second in self.joined[:1]:
            name = self.watch.name(second.weight)
            self.find(
                "warning",
                "no-nonlinearity",
                f"the Linear of {name} follows another with nothing between: they are one Linear",
                about=name,
                evidence=f"{first.in_features} to {first.out_features} to {second.out_features}",
                way_out="put an activation between them, or leave one out",
            )
        self.joined.clear()

    def _siblings(self, one: nn.Module, other: nn.Module) -> bool:
        """Say whether two modules have been written side by side, and both learn."""
        if id(one) not in self.parents and self.model:
            for parent in self.model.modules():
                self.parents.update({id(child): parent for child in parent.children()})
        same = self.parents.get(id(one)) is self.parents.get(id(other)) is not None
        return same and all(layer.weight.requires_grad for layer in (one, other))


def list_of(value: Any) -> list[Any]:
    """Return the things in nested tuples, lists and dicts."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return [value]
    return [one for inner in value for one in list_of(inner)]


def learns(optimizers: Sequence[Optimizer]) -> bool:
    """Say whether any learning rate is above 0: a warm-up begins with steps that do nothing."""
    return any(group["lr"] > 0 for one in optimizers for group in one.param_groups)


def alike(rows: Tensor) -> bool:
    """Say whether all rows are the same, up to rounding."""
    values = rows.float().flatten(1) if rows.ndim > 1 else rows.float().unsqueeze(1)
    if not torch.allclose(values[0], values[1], rtol=1e-6, atol=0):
        return False
    return bool(((values - values[:1]).abs().amax() <= 1e-6 * values.abs().amax()).all())


def symmetric(weight: Tensor, gradient: Tensor) -> bool:
    """Say whether weight and gradient are the same for all units, along either axis."""
    if gradient.is_sparse or weight.is_complex():
        return False
    for axis in range(2):
        both = [one.detach().float().transpose(0, axis) for one in (weight, gradient)]
        if len(both[0]) > 1 and all(equal_rows(one) for one in both):
            return True
    return False


def equal_rows(rows: Tensor) -> bool:
    """Say whether all rows are equal; the first two tell it at once of nearly all weights."""
    bound = ALIKE * float(rows[0].abs().max()) + 1e-30
    return all(float((some - rows[0]).abs().max()) <= bound for some in (rows[1], rows))
