"""What the recipes beside it name."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from nnhooks import hookimpl


class Net(nn.Module):
    """Two features to one output."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).squeeze(1)

    @staticmethod
    def loss(output: Tensor, target: Tensor) -> Tensor:
        return ((output - target) ** 2).mean()

    def penalized(self, output: Tensor, target: Tensor) -> Tensor:
        return self.loss(output, target) + self.linear.weight.square().sum()


class Other(nn.Linear):
    """A model that is not a Net."""

    def __init__(self) -> None:
        super().__init__(2, 1)


class Wraps(nn.Module):
    """A model around another."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner


class NoModule:
    """Not a model."""


class NoPlugin:
    """Not a plugin."""

    def on_fit_start(self) -> None: ...


class Patience:
    """A plugin with options of several kinds."""

    def __init__(
        self,
        monitor: str,
        patience: Annotated[int, Ge(1)] = 3,
        mode: Literal["min", "max"] = "min",
        share: Annotated[float, Gt(0), Lt(1)] | None = None,
    ) -> None:
        self.monitor, self.patience, self.mode, self.share = monitor, patience, mode, share

    @hookimpl
    def on_epoch_end(self, metrics: dict[str, float]) -> None: ...
