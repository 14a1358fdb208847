"""Predictions and labels whose shapes do not match: every one is held against every other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from nnhooks import Check
from nnhooks.watching.origins import name_of

from ._residuals import DISTANCES, Residuals, sides

COMPARED = {"eq", "ne", "lt", "gt", "le", "ge"}
COMPUTED = {"sub", "rsub", "isub", "add", "radd", "mul", "rmul", "div", "truediv"}
EXPLAINED = {
    "loss-broadcast": """
Prediction and target have different shapes, and torch stretches both until they match:
(32, 1) minus (32,) is (32, 32). Each prediction is then pulled towards every label of the batch,
so that the best it can do is to predict their mean. The loss falls, and nothing is learned.

Wrong:
    prediction = model(x)                       # (32, 1)
    loss = ((prediction - y) ** 2).mean()       # y is (32,): the difference is (32, 32)

Right:
    prediction = model(x).squeeze(1)            # (32,)
    loss = ((prediction - y) ** 2).mean()       # the difference is (32,)
""",
    "metric-broadcast": """
Predictions are compared with labels of another shape: (32, 1) == (32,) gives (32, 32) answers, of
every prediction with every label. What is counted is no accuracy.

Wrong:
    predicted = (model(x) > 0).float()          # (32, 1)
    accuracy = (predicted == y).float().mean()  # y is (32,): 1024 comparisons

Right:
    predicted = (model(x) > 0).float().squeeze(1)
    accuracy = (predicted == y).float().mean()  # 32 comparisons
""",
}


@dataclass(frozen=True)
class Meeting:
    """Shapes that met, and how many numbers came of it."""

    prediction: tuple[int, ...]
    target: tuple[int, ...]
    result: tuple[int, ...]
    sure: bool  # whatever is computed of it, it makes no sense


class Broadcast(Check):
    """Looks where predictions meet labels: do their shapes pair each with its own?"""

    def on_start(self) -> None:
        self.inside: nn.Module | None = None
        self.residuals = Residuals(self.watch, self._met)

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.inside = model if next(model.parameters(), None) is not None else None

    def after_forward(self, model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.inside = None

    def after_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        name = name_of(function)
        residual = self.residuals.follow(function, arguments, keywords, result)
        if residual and (residual.power == 2 or residual.about.sure or name in DISTANCES):
            self._report("loss-broadcast", residual.about)
        if self.inside is None and name in COMPARED | COMPUTED and len(arguments) > 1:
            self._outside(name, arguments[0], arguments[1], result)

    def _outside(self, name: str, one: Any, other: Any, result: Any) -> None:
        """Look at what is computed between the model's answer and the loss."""
        met = sides(self.watch, one, other)
        if not met or not isinstance(result, Tensor):
            return
        prediction, target = met
        meeting = self._met(prediction, target, result)
        if meeting is None or not self.watch.origins[prediction].answer:
            return
        if name in COMPARED and (meeting.sure or (name in ("eq", "ne") and stretched(meeting))):
            self._report("metric-broadcast", meeting)
        elif meeting.sure:
            self._report("loss-broadcast", meeting)

    def _met(self, prediction: Tensor, target: Tensor, result: Tensor | None) -> Meeting | None:
        """Say how two tensors met, if not each number with its own."""
        shapes = tuple(prediction.shape), tuple(target.shape)
        if shapes[0] == shapes[1] or not shapes[0] or not shapes[1]:
            return None
        shape = tuple(result.shape) if result is not None else together(*shapes)
        origins = self.watch.origins
        asked = origins[prediction].stretched or origins[target].stretched
        larger = count(shape) > max(count(shapes[0]), count(shapes[1]))
        same_rows = shapes[0][0] == shapes[1][0] > 1
        if larger and len(shapes[0]) != len(shapes[1]) and same_rows:
            return Meeting(*shapes, shape, sure=not asked)
        if larger and not asked and transposed(*shapes):
            return Meeting(*shapes, shape, sure=False)
        meeting = Meeting(*shapes, shape, sure=False)
        return meeting if origins[prediction].answer and stretched(meeting) else None

    def _report(self, rule: str, meeting: Meeting) -> None:
        what = "prediction" if rule == "loss-broadcast" else "predicted"
        rows = (
            f"the {meeting.target[0]} labels of the batch are laid along every row of outputs"
            if stretched(meeting)
            else f"{count(meeting.result)} pairs of every prediction with every label"
        )
        self.find(
            "error",
            rule,
            f"{what} {meeting.prediction} is held against target {meeting.target}: {rows}",
            evidence=f"prediction {meeting.prediction}, target {meeting.target}, "
            f"result {meeting.result}",
            way_out="give both the same shape, such as `prediction.squeeze(1)` or "
            "`target.unsqueeze(1)`, or one output for each label",
        )


def stretched(meeting: Meeting) -> bool:
    """Say whether one label for each row was laid along the outputs of a row instead."""
    prediction, target = meeting.prediction, meeting.target
    along = len(prediction) - len(target)
    return (
        along > 0
        and meeting.result == prediction
        and prediction[0] == target[0] == prediction[along] > 1
    )


def transposed(prediction: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Say whether a column met a row."""
    return len(prediction) == len(target) == 2 and prediction == target[::-1]


def together(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of two tensors that are stretched to match."""
    width = max(len(one), len(other))
    padded = [(1,) * (width - len(shape)) + shape for shape in (one, other)]
    return tuple(max(pair) for pair in zip(*padded, strict=True))


def count(shape: tuple[int, ...]) -> int:
    """Return how many numbers a tensor of this shape holds."""
    total = 1
    for size in shape:
        total *= size
    return total
