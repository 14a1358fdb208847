"""A trial: model, loss and one batch, of which each probe gets copies to do with as it likes."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks.findings import Finding, Level
from nnhooks.probing.rows import Rows, changed, fewer, rows_of, tensors
from nnhooks.watching.places import own_line, shown

MOST_ROWS = 16  # what holds of a batch holds of a small one


class Cannot(Exception):
    """Why a probe could not be tried."""


class Copy:
    """A copy of the model, its loss and its optimizer; what happens to it happens to nobody."""

    def __init__(self, trial: Trial, double: bool, training: bool) -> None:
        parts = deepcopy((trial.model, trial.loss, trial.optimizer))
        self.model, self.loss, self.optimizer = parts
        self.ask = trial.ask
        self.model.train(training)
        if double:
            self.model.double()
            if isinstance(self.loss, nn.Module):
                self.loss.double()

    def answer(self, inputs: Any, seed: int = 0) -> Any:
        """Return what the model says, every random generator standing at `seed`."""
        seed_all(seed)
        return self.ask(self.model, changed(Tensor.detach, inputs))

    def value(self, output: Any, target: Any) -> Tensor:
        """Return the loss."""
        seed_all(0)
        loss = self.loss(output, target)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise Cannot("the loss is no single number")
        return loss.reshape(())

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that training is to move, by name."""
        held: set[int] | None = None
        if self.optimizer is not None:
            held = {id(one) for group in self.optimizer.param_groups for one in group["params"]}
        return {
            name: parameter
            for name, parameter in self.model.named_parameters()
            if parameter.requires_grad and (held is None or id(parameter) in held)
        }

    def gradients(self, loss: Tensor, of: Sequence[Tensor]) -> list[Tensor | None]:
        """Return the gradient of a loss by each tensor, dense, leaving every `.grad` alone."""
        if not loss.requires_grad:
            raise Cannot("the loss does not depend on anything that requires a gradient")
        found = torch.autograd.grad(loss, list(of), allow_unused=True)
        return [one.to_dense() if one is not None and one.is_sparse else one for one in found]


class Trial:
    """What is tried out: it knows its rows, in which precision it runs, and when time is up."""

    def __init__(
        self,
        model: nn.Module,
        inputs: Any,
        target: Any,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Optimizer | None,
        *,
        expect: Mapping[str, Any],
        ask: Callable[[nn.Module, Any], Any] | None,
        seconds: float,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.whole = (changed(Tensor.detach, inputs), changed(Tensor.detach, target))
        self.expect, self.ask = expect, ask or usual_call(model)
        self.until = perf_counter() + seconds
        self.double = self.training = False
        self.random = False  # whether two answers from one seed differ
        self.found: set[str] = set()
        self.line = own_line("nnhooks")

    def settle(self) -> None:
        """Find rows, precision and mode in which model and loss can be run at all."""
        inputs, target = self.whole
        axis = int(self.expect.get("batch_axis", 0))
        count = rows_of(inputs, target, axis)
        few = fewer(inputs, target, count, MOST_ROWS, axis)
        sizes = [count] if self.expect.get("batch_coupled") else list(dict.fromkeys([few, count]))
        errors: list[Exception] = []
        for training in (False, True):
            for size in sizes:
                for double in (True, False):
                    self.double, self.training = double, training
                    self.rows = Rows(size, axis)
                    self.inputs, self.target = map(self.cast, self._cut(count, size, axis))
                    try:
                        self._try()
                        return
                    except Exception as error:
                        errors.append(error)
        raise Cannot(f"{type(errors[-1]).__name__}: {errors[-1]}") from errors[-1]

    def _cut(self, count: int, size: int, axis: int) -> tuple[Any, Any]:
        inputs, target = self.whole
        if size == count:
            return inputs, target
        first = torch.arange(size)
        return Rows(count, axis).take(inputs, first), Rows(count, axis).take(target, first)

    def _try(self) -> None:
        copy = self.copy()
        copy.value(copy.answer(self.inputs), self.target)

    def copy(self, *, training: bool | None = None, double: bool | None = None) -> Copy:
        """Return a fresh copy, in the mode of evaluation where that is possible."""
        mode = self.training if training is None else training
        return Copy(self, self.double if double is None else double, mode)

    def cast(self, value: Any) -> Any:
        """Return a value in the precision of the trial."""
        if not self.double:
            return value
        return changed(lambda one: one.double() if one.is_floating_point() else one, value)

    @property
    def tolerance(self) -> float:
        """How much of a number rounding may change."""
        return 1e-8 if self.double else 1e-4

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.until - perf_counter()

    @property
    def exchangeable(self) -> bool:
        """Whether it has been declared that rows have nothing to do with one another."""
        return self.expect.get("batch_coupled") is False or bool(self.expect.get("shuffle"))

    def needs(self, rows: int = 2) -> None:
        """Refuse to go on with fewer rows, or with a model that no seed holds still."""
        if self.rows.count < rows:
            raise Cannot(f"it takes a batch of {rows} rows or more")
        if self.random:
            raise Cannot("the same seed does not give the same answer")

    def finding(
        self,
        level: Level,
        rule: str,
        message: str,
        *,
        of: Any = None,
        about: str = "",
        evidence: str = "",
        way_out: str = "",
    ) -> Finding:
        """Return a finding about a function of the user's, at the line where it begins."""
        self.found.add(rule)
        return Finding(
            check="probe",
            rule=rule,
            level=level,
            message=message,
            about=about,
            place=place(of) or self.line,
            evidence=evidence,
            way_out=way_out,
        )


Probe = Callable[[Trial], Iterator[Finding]]


def usual_call(model: nn.Module) -> Callable[[nn.Module, Any], Any]:
    """Return how a model is called with its inputs: as one argument, or as one for each."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        parameters = []  # type: ignore[assignment]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [one for one in parameters if one.kind in kinds and one.default is one.empty]
    several = len(needed) > 1

    def call(model: nn.Module, inputs: Any) -> Any:
        if several and isinstance(inputs, tuple | list):
            return model(*inputs)
        if several and isinstance(inputs, dict):
            return model(**inputs)
        return model(inputs)

    return call


def seed_all(seed: int) -> None:
    """Seed every generator that a model may draw from; `probe` puts them back."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def place(of: Any) -> str:
    """Return `file:line` of a function, or of a model's forward; empty if it is a library's."""
    function = type(of).forward if isinstance(of, nn.Module) else of
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None or "/site-packages/" in code.co_filename or "/lib/python" in code.co_filename:
        return ""
    return f"{shown(code.co_filename)}:{code.co_firstlineno}"


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return what an optimizer moves."""
    return [one for group in optimizer.param_groups for one in group["params"]]


def single(value: Any) -> Tensor:
    """Return the one tensor that a value is."""
    found = tensors(value)
    if len(found) != 1:
        raise Cannot(f"it takes one output, and there are {len(found)}")
    return found[0]
