"""Metrics: what is reported, against the same thing computed from outputs and targets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nnhooks import Check
from nnhooks_plugins.checks._batches import first_tensor, has_weights, hidden

OFF = 1e-3  # of a metric, beyond what rounding can explain
IGNORED = -100  # what torch's losses leave out
PERCENT = 100.0
OTHER_KINDS = re.compile(r"top|balanced|macro|weighted|class|f1|exact|seq|sentence|iou")
EQUALS = {"eq", "__eq__", "equal"}


class Metrics(Check):
    """Recomputes declared metrics, and looks at how predictions are compared in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.output: Tensor | None = None  # of the last evaluation, while functions are told

    # What is reported

    def on_metric(self, name: str, value: float, output: Any, target: Any) -> None:
        output, target = first_tensor(output), first_tensor(target)
        kind = kind_of(name)
        if output is None or kind is None or hidden(output):
            return
        output = output.detach()
        if kind == "mean":
            self._compare(name, value, [float(output.double().mean())], output, None)
        elif target is None:
            return
        elif kind == "accuracy":
            self._compare_accuracy(name, value, output, target.detach())
        elif output.numel() == target.numel():
            apart = (output.reshape(-1).double() - target.detach().reshape(-1).double()).abs()
            right = {
                "mae": apart.mean(),
                "mse": apart.square().mean(),
                "rmse": apart.square().mean().sqrt(),
            }[kind]
            self._compare(name, value, [float(right)], output, target.detach())

    def _compare_accuracy(self, name: str, value: float, output: Tensor, target: Tensor) -> None:
        guesses = answers(output, target)
        if not guesses:
            return
        counted = target != IGNORED
        right = [
            float((guess == target)[counted].double().mean())
            for guess in guesses
            if bool(counted.any())
        ]
        if "error" in name.lower():
            right = [1 - share for share in right]
        self._compare(name, value, right, output, target)

    def _compare(
        self, name: str, value: float, right: list[float], output: Tensor, target: Tensor | None
    ) -> None:
        if not right or any(
            close(value, one) or close(value / PERCENT, one, OFF / 10) for one in right
        ):
            return
        rule, message, way_out = self._reason(value, output, target)
        nearest = min(right, key=lambda one: abs(one - value))
        self.find(
            "error",
            rule,
            f"`{name}` is not what outputs and targets give: {message}",
            about=name,
            evidence=f"reported {value:.6g}, recomputed {nearest:.6g}, from "
            f"{len(output) if output.dim() else 1} rows",
            way_out=way_out,
        )

    def _reason(self, value: float, output: Tensor, target: Tensor | None) -> tuple[str, str, str]:
        """Return the rule, what has been done instead, and the way out."""
        if target is not None and output.is_floating_point() and output.numel() == target.numel():
            flat, labels = output.reshape(-1), target.reshape(-1)
            if close(value, float((flat == labels).double().mean())) and whole(labels):
                return (
                    "metric-unrounded",
                    "numbers were compared with whole labels without rounding",
                    "compare (output > 0.5), or output.round(), with the labels",
                )
            if output.shape != target.shape and flat.numel() <= 4096:
                return (
                    "metric-mismatch",
                    f"{tuple(output.shape)} against {tuple(target.shape)} compares all with all",
                    "give both the same shape: output.squeeze(1)",
                )
        if target is not None and bool((target == IGNORED).any()):
            return (
                "metric-mismatch",
                f"places with the target {IGNORED} may have been counted",
                "leave them out: [target != -100]",
            )
        return (
            "metric-mismatch",
            "it may have been taken over the wrong axis, batches or epochs",
            "sum over rows, divide by the number of rows, and begin anew each epoch",
        )

    # What is compared, in the first evaluations

    def after_forward(self, model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        given = first_tensor(output)
        if given is None or torch.is_grad_enabled() or not has_weights(model) or hidden(given):
            return
        self.output = given if given.is_floating_point() else None

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        if has_weights(model):
            self.output = None

    def after_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        name = getattr(function, "__name__", "")
        output = self.output
        if output is None or name not in EQUALS or len(arguments) < 2 or output.dim() == 0:
            return
        one, other = arguments[:2]
        if isinstance(one, Tensor) and isinstance(other, Tensor):
            self._look_at_comparison(one, other, output)

    def _look_at_comparison(self, one: Tensor, other: Tensor, output: Tensor) -> None:
        rows = len(output)
        if one.shape != other.shape and {one.numel(), other.numel()} == {rows} and rows > 1:
            self.find(
                "error",
                "metric-broadcast",
                f"comparing {tuple(one.shape)} with {tuple(other.shape)} compares each prediction "
                "with every label",
                evidence=f"{rows * rows} comparisons of {rows} rows",
                way_out="give both the same shape: output.squeeze(1)",
            )
        mine = [tensor for tensor in (one, other) if same_memory(tensor, output)]
        labels = other if mine and mine[0] is one else one
        if (
            len(mine) == 1
            and labels.numel() == output.numel() > 8
            and whole(labels)
            and not whole(output)
            and not bool((output.reshape(-1) == labels.reshape(-1)).any())
        ):
            self.find(
                "error",
                "metric-unrounded",
                "outputs are compared with whole labels without rounding, and never equal them",
                evidence=f"0 of {rows} equal",
                way_out="compare (output > 0.5), or output.round(), with the labels",
            )


def kind_of(name: str) -> str | None:
    """Return which of the metrics known here a name stands for."""
    name = name.lower()
    if OTHER_KINDS.search(name):
        return None
    if "acc" in name or name in ("error_rate", "val_error_rate"):
        return "accuracy"
    words = set(re.split(r"[^a-z0-9]+", name))
    for kind in ("rmse", "mse", "mae", "mean"):
        if kind in words:
            return kind
    return None


def answers(output: Tensor, target: Tensor) -> list[Tensor]:
    """Return what outputs may be taken to answer, in the shape of the target; none if unclear."""
    if output.shape == target.shape or output.numel() == target.numel():
        output = output.reshape(target.shape)
        if not output.is_floating_point():
            return [output]
        labels = target.to(output.dtype) if not target.is_floating_point() else target
        return [(output > cut).to(labels.dtype).to(target.dtype) for cut in (0.5, 0.0)] + [
            output.round().to(target.dtype)
        ]
    if output.dim() == target.dim() + 1 and output.is_floating_point():
        guesses = [output.argmax(dim) for dim in (1, -1)]
        return [guess for guess in guesses[: output.dim() - 1] if guess.shape == target.shape]
    return []


def close(one: float, other: float, off: float = OFF) -> bool:
    """Say whether two values of a metric differ by no more than rounding."""
    return abs(one - other) <= off * max(abs(other), 1e-12) or one == other


def whole(tensor: Tensor) -> bool:
    """Say whether all numbers are whole."""
    return not tensor.is_floating_point() or bool((tensor == tensor.round()).all())


def same_memory(one: Tensor, other: Tensor) -> bool:
    """Say whether a tensor is another, or a view of all of it."""
    return one.data_ptr() == other.data_ptr() and one.numel() == other.numel()


EXPLAINED: dict[str, str] = {
    "metric-mismatch": """\
The reported value is not what the outputs and targets give.

Wrong:

    right.float().mean(0)  # mean of the means of unequal batches

Right:

    right_rows / rows
""",
    "metric-unrounded": """\
Probabilities are compared with whole labels, which they never equal.

Wrong:

    (output == y).float().mean()

Right:

    ((output > 0.5) == y).float().mean()
""",
    "metric-broadcast": """\
(n, 1) compared with (n,) compares each prediction with every label.

Wrong:

    (output.round() == y).float().mean()

Right:

    (output.squeeze(1).round() == y).float().mean()
""",
}
