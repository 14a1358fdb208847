"""Do random numbers come again? In plain PyTorch:

torch.default_generator.get_state()     # before a forward pass and after a step
"""

from __future__ import annotations

import random
import sys
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from nnhooks import Check

REMEMBERED = 64  # states of a generator that are remembered, the first since an optimizer began
LOOKS = 256  # at torch's generator, before that is only done while inspecting
AGAIN = 3  # times in a row that a generator stands where it stood before, with draws between


class Generator:
    """The states of one random generator, as hashes; nothing is drawn from it."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}  # when each was seen first
        self.last: int | None = None
        self.again = self.back = self.count = 0

    def look(self, state: int) -> bool:
        """Take up a state; say whether the generator has come back too often."""
        if state == self.last:  # nothing was drawn
            return False
        self.count += 1
        if state in self.seen:
            self.again += 1
            self.back = self.count - self.seen[state]
        else:
            self.again = 0
            if len(self.seen) < REMEMBERED:
                self.seen[state] = self.count
        self.last = state
        return self.again >= AGAIN


class Randomness(Check):
    """Judges whether generators are set back again and again while one optimizer trains.

    A generator that is set to another seed each time is right, and so is one that is put back to
    where it was (`fork_rng`), or that starts again with a new model and a new optimizer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.generators: dict[str, Generator] = {}
        self.optimizer: Optimizer | None = None
        self.looks = 0

    def on_optimizer(self, optimizer: Optimizer) -> None:
        self.generators.clear()

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.is_looking() and torch.is_grad_enabled():
            self.look()

    def after_step(self, optimizer: Optimizer) -> None:
        if self.optimizer is not optimizer and not self.watch.steps.get(optimizer):
            self.generators.clear()  # another training begins, perhaps from the same seed
        self.optimizer = optimizer
        if self.is_looking():
            self.look()

    def is_looking(self) -> bool:
        """Say whether to look: at first, while inspecting, and once there is a suspicion."""
        return (
            self.looks < LOOKS
            or self.watch.inspecting
            or any(one.again for one in self.generators.values())
        )

    def look(self) -> None:
        """Look at where the generators stand."""
        self.looks += 1
        for name, state in states(self.watch.inspecting).items():
            generator = self.generators.setdefault(name, Generator())
            if generator.look(state):
                self.find(
                    "warning",
                    "rng-reset",
                    f"{name} is set back again and again: it gives the same numbers in each round",
                    about=name,
                    evidence=f"it stood where it had stood before {AGAIN} times in a row, with "
                    "numbers drawn between",
                    way_out="set the seed once, before training; for a fixed draw use a "
                    "torch.Generator of its own",
                )


def states(every: bool) -> dict[str, int]:
    """Return where torch's random generator stands, and every other one if asked for."""
    found = {
        "torch's random generator": hash(torch.default_generator.get_state().numpy().tobytes())
    }
    if not every:
        return found
    found["Python's random generator"] = hash(random.getstate())
    if "numpy" in sys.modules:
        _, keys, position, *rest = sys.modules["numpy"].random.get_state()
        found["NumPy's random generator"] = hash((keys.tobytes(), position, *rest))
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        for index, generator in enumerate(torch.cuda.default_generators):
            found[f"the random generator of cuda:{index}"] = hash(
                generator.get_state().numpy().tobytes()
            )
    return found


EXPLAINED = {
    "rng-reset": """\
A seed that is set inside the loop makes every round draw the same numbers: the same dropout mask,
the same noise, the same augmentation, the same order of batches.

    wrong: for x, y in batches:
               torch.manual_seed(0)
               train(x, y)
    right: torch.manual_seed(0)
           for x, y in batches:
               train(x, y)
""",
}
