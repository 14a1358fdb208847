"""How often the rounded output is the target, in plain PyTorch:

assert output.shape == target.shape     # or `==` would broadcast in silence
right += (output.detach().round() == target).sum()
count += target.numel()
print(right.item() / count)
"""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge
from torch import Tensor

from nnhooks import Finding, Outcome, PluginError, Trainer, hookimpl
from nnhooks_plugins._mean import Mean

FEW = 24  # as many numbers as the eye takes in


class RoundAccuracy:
    """Logs `round_accuracy` and `validation/round_accuracy`; shows the last rounded outputs.

    Outputs are rounded to `decimals`, and right if they are then within `tolerance` of their
    target. Where the shapes differ nothing is broadcast. That is reported, and there is a number
    only if output or target has a single value per row: a row is right if all in it agree.
    """

    def __init__(self, decimals: int = 0, tolerance: Annotated[float, Ge(0)] = 0) -> None:
        self.decimals, self.tolerance = decimals, tolerance
        self.training, self.validation = Mean(), Mean()
        self.last: tuple[Tensor, Tensor] | None = None
        self.reported = False

    @hookimpl
    def on_epoch_start(self) -> None:
        self.training.clear()

    @hookimpl
    def after_loss(self, trainer: Trainer, output: Tensor, target: Tensor) -> None:
        rounded = self.compare(trainer, self.training, output, target)
        self.last = (rounded, target) if output.numel() <= FEW else None

    @hookimpl
    def on_validation_batch(self, trainer: Trainer, output: Tensor, target: Tensor) -> None:
        self.compare(trainer, self.validation, output, target)

    @hookimpl
    def on_evaluate(self, trainer: Trainer) -> None:
        kinds = {"round_accuracy": self.training, "validation/round_accuracy": self.validation}
        for name, mean in kinds.items():
            if (value := mean.value) is not None:
                trainer.log(name, value)
        self.validation.clear()

    @hookimpl
    def on_fit_end(self, trainer: Trainer, outcome: Outcome) -> None:
        if self.last and trainer.is_main and outcome != "failed":
            print(f"Rounded outputs of step {trainer.step}, beside their targets")
            print(table(*self.last, self.decimals))
            if (share := self.training.value) is not None:
                count = int(self.training.count)
                print(f"Right in epoch {trainer.epoch}: {share * count:.0f} of {count}")

    def compare(self, trainer: Trainer, mean: Mean, output: Tensor, target: Tensor) -> Tensor:
        """Add a batch to a mean and return its rounded outputs; report the first misfit."""
        if not (isinstance(output, Tensor) and isinstance(target, Tensor)):
            kinds = f"{type(output).__name__} and {type(target).__name__}"
            raise PluginError(f"round_accuracy compares tensors; output and target are {kinds}")
        output = output.detach()
        rounded = output.round(decimals=self.decimals) if output.is_floating_point() else output
        agree = agreement(rounded, target.detach(), self.tolerance)
        if output.shape != target.shape and not self.reported:
            self.reported = True
            self.report(trainer, output, target, agree)
        if agree is not None:
            mean.add(agree.sum(), count=agree.numel())
        return rounded

    def report(
        self, trainer: Trainer, output: Tensor, target: Tensor, agree: Tensor | None
    ) -> None:
        """Report two shapes that differ, and what the accuracy means in spite of it."""
        shapes = f"output {tuple(output.shape)} against target {tuple(target.shape)}"
        counted = "a row counts as right if all in it agree"
        trainer.report(
            Finding(
                check="round_accuracy",
                level="error",
                step=trainer.step,
                message=f"{shapes}: `==` would broadcast one over the other in silence",
                evidence=counted if agree is not None else "there is no number for such batches",
                way_out="give every output its own target; for classes use the plugin `accuracy`",
            )
        )

    def state_dict(self) -> dict[str, Any]:
        return self.training.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.training.load_state_dict(state)


def agreement(rounded: Tensor, target: Tensor, tolerance: float) -> Tensor | None:
    """Return what is right, value by value or row by row; None where shapes allow neither."""
    if rounded.shape == target.shape:
        return close(rounded, target, tolerance)
    if rounded.shape[:1] != target.shape[:1] or not target.numel():
        return None
    rows, wanted = by_row(rounded), by_row(target)
    if 1 not in (rows.shape[1], wanted.shape[1]):
        return None
    return close(rows, wanted, tolerance).all(1)


def close(rounded: Tensor, target: Tensor, tolerance: float) -> Tensor:
    """Return where the two are at most `tolerance` apart, in the numbers the output is made of."""
    return (rounded - target.to(rounded.dtype)).abs() <= tolerance


def by_row(values: Tensor) -> Tensor:
    """Return the values as a matrix: a row for each sample."""
    return values.reshape(len(values) if values.ndim else 1, -1)


def table(rounded: Tensor, target: Tensor, decimals: int) -> str:
    """Lay out rounded outputs, a line for each sample, beside their targets."""
    outputs = [[f"{value + 0.0:.{decimals}f}" for value in row] for row in by_row(rounded).tolist()]
    targets = [" ".join(f"{value:g}" for value in row) for row in by_row(target).tolist()]
    width = max((len(text) for row in outputs for text in row), default=0)
    if len(outputs) != len(targets):
        targets = [f"(all targets: {' '.join(targets)})", *[""] * (len(outputs) - 1)]
    lines = zip(outputs, targets, strict=True)
    return "\n".join(
        f"  {' '.join(text.rjust(width) for text in row)}   {target}".rstrip()
        for row, target in lines
    )
