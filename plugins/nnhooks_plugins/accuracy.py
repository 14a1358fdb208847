"""The share of samples whose class is predicted right, in plain PyTorch:

right += (output.argmax(1) == target).sum()
count += target.numel()
print(right.item() / count)
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from nnhooks import Finding, Trainer, hookimpl
from nnhooks_plugins._mean import Mean


class Accuracy:
    """Logs `accuracy`, of the training batches as each was met, and `validation/accuracy`.

    An output of shape (N, C, ...) holds a value for each class, logit or probability, and its
    target of shape (N, ...) the numbers of the right ones. An output of shape (N,) or (N, 1, ...)
    is for two classes: above `threshold` it says 1, otherwise 0. Give 0.5 for probabilities.
    Targets that equal `ignore` do not count, as in CrossEntropyLoss.
    """

    def __init__(self, threshold: float = 0.0, ignore: int = -100) -> None:
        self.threshold, self.ignore = threshold, ignore
        self.training, self.validation = Mean(), Mean()
        self.reported = False

    @hookimpl
    def on_epoch_start(self) -> None:
        self.training.clear()

    @hookimpl
    def after_loss(self, trainer: Trainer, output: Any, target: Any) -> None:
        self.count(trainer, self.training, output, target)

    @hookimpl
    def on_validation_batch(self, trainer: Trainer, output: Any, target: Any) -> None:
        self.count(trainer, self.validation, output, target)

    @hookimpl
    def on_evaluate(self, trainer: Trainer) -> None:
        for name, mean in (("accuracy", self.training), ("validation/accuracy", self.validation)):
            if (value := mean.value) is not None:
                trainer.log(name, value)
        self.validation.clear()

    def count(self, trainer: Trainer, mean: Mean, output: Any, target: Any) -> None:
        """Add a batch to a mean; report the first that is no classification."""
        if problem := misfit(output, target):
            self.report(trainer, *problem)
            return
        counted = target != self.ignore
        right = (classes(output, self.threshold).view_as(target) == target) & counted
        mean.add(right.sum(), count=counted.sum())

    def report(self, trainer: Trainer, message: str, way_out: str) -> None:
        """Report once why there is no accuracy."""
        if self.reported:
            return
        self.reported = True
        trainer.report(
            Finding(
                check="accuracy",
                level="error",
                step=trainer.step,
                message=message,
                evidence="such batches are left out",
                way_out=way_out,
            )
        )

    def state_dict(self) -> dict[str, Any]:
        return self.training.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.training.load_state_dict(state)


def classes(output: Tensor, threshold: float) -> Tensor:
    """Return the numbers of the classes that outputs speak for."""
    if output.ndim == 1 or output.shape[1] == 1:
        return output > threshold
    return output.argmax(1)


def misfit(output: Any, target: Any) -> tuple[str, str] | None:
    """Say why these are not outputs and classes, and the way out; None if they are."""
    if not (isinstance(output, Tensor) and isinstance(target, Tensor)):
        kinds = f"{type(output).__name__} and {type(target).__name__}"
        return (f"output and target are {kinds}, not tensors", "let a plugin of your own compare")
    shapes = f"output {tuple(output.shape)} and target {tuple(target.shape)}"
    two = output.ndim == 1 or (output.ndim > 1 and output.shape[1] == 1)
    without_classes = output.shape[:1] + output.shape[2:]
    if target.shape != without_classes and not (two and output.shape == target.shape):
        return (
            f"{shapes} are not (N, C, ...) and (N, ...): no telling which output is a class",
            "put the classes in dimension 1 of the output, and one class number in the target",
        )
    if target.is_floating_point() and not two:
        return (
            f"{shapes} fit, but the target is {target.dtype}: amounts, not class numbers",
            "make them classes: `classes: true` in the recipe's data, or `target.long()`",
        )
    return None
