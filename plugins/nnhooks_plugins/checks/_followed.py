"""Which backward passes the gradients of an optimizer hold, told from the gradients themselves."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor
from torch.optim import Optimizer

from nnhooks_plugins._evidence import spread
from nnhooks_plugins._gradient import Gradient

MOST = 32  # optimizers that are followed at a time; those seen last


class Followed(Gradient):
    """A gradient that also knows its passes by number, and what is wrong with one of them."""

    __slots__ = ("cleared_at", "flaw", "held", "lost")

    def __init__(self, name: str, parameter: Tensor) -> None:
        super().__init__(name, parameter)  # type: ignore[arg-type]
        self.lost = 0  # passes that were cleared since the last use, before any use
        self.cleared_at = 0  # forward passes there had been when that happened

    def clear(self) -> None:
        """Hold nothing."""
        super().clear()
        self.held: list[int] = []
        self.flaw = ""

    def has_changed(self) -> bool:
        """Say whether the gradient is another than when it was last looked at."""
        gradient = self.parameter.grad
        if gradient is None:
            return False
        return self.seen is None or self.seen() is not gradient or gradient._version != self.version

    def look_after(self, step: int, forwards: int) -> None:
        """Take up what the loop did by hand; a used gradient that was changed is a new one."""
        held, used, version = self.passes, self.used, self.version
        if self.look(step):
            if not used:
                self.lost += held
                self.cleared_at = forwards
        elif self.used and self.version != version:
            self.used = False

    def spend(self) -> None:
        """Know that the optimizer has used what it holds."""
        self.use()
        self.lost = 0


class Following:
    """The gradients of each optimizer that are followed: a few, spread over its parameters."""

    def __init__(self) -> None:
        self.of: dict[Optimizer, list[Followed]] = {}

    def follow(self, optimizer: Optimizer) -> list[Followed]:
        """Choose which gradients to follow, from the parameters that are trained now."""
        known = {id(followed.parameter): followed for followed in self.of.pop(optimizer, [])}
        trained = [p for p in held_by(optimizer) if p.requires_grad]
        chosen = [known.get(id(p)) or Followed("", p) for p in spread(trained)]
        self.of[optimizer] = chosen
        while len(self.of) > MOST:
            del self.of[next(iter(self.of))]
        return chosen

    def __getitem__(self, optimizer: Optimizer) -> list[Followed]:
        followed = self.of.get(optimizer)
        if followed is None or not all(one.parameter.requires_grad for one in followed):
            return self.follow(optimizer)
        return followed

    def look(self, optimizer: Optimizer, step: int, forwards: int = 0) -> None:
        """Take up what the loop did to the gradients of one optimizer."""
        for followed in self[optimizer]:
            followed.look_after(step, forwards)

    def passed(self, number: int, step: int) -> dict[Optimizer, list[Followed]]:
        """Take up a backward pass; return what it has reached, by optimizer."""
        reached = {
            optimizer: [followed for followed in gradients if followed.has_changed()]
            for optimizer, gradients in self.of.items()
        }
        for gradients in reached.values():
            for followed in gradients:
                followed.add(step)
                followed.held.append(number)
        return {optimizer: gradients for optimizer, gradients in reached.items() if gradients}


def held_by(optimizer: Optimizer) -> Iterator[Tensor]:
    """Yield the parameters an optimizer holds."""
    for group in optimizer.param_groups:
        yield from group["params"]
