"""The founding step (9 parameters, AdamW) through the Trainer, against the same loop by hand.

    python benchmarks/step.py

Targets: at most 1.03 with no plugin, at most 1.12 with five that listen to `after_backward`.
"""

from __future__ import annotations

from functools import partial

import torch
from timing import interleaved, table
from torch import Tensor, nn
from torch.optim import AdamW

from nnhooks import Trainer, hookimpl

STEPS, ROUNDS = 500, 40
INPUTS = torch.tensor([[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]])
TARGET = torch.tensor([4.0, 5.0, 6.0])


class Model(nn.Module):
    """Softmax over one linear layer, as in recipes/softmax_linear.py."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([[0.1, 0.2], [0.2, 0.3], [0.1, 0.3]]))
        self.b = nn.Parameter(torch.tensor([0.0, 0.1, 0.2]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax((x @ self.w.t() + self.b).squeeze(), -1)


def mse(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean()


class Listens:
    """A plugin that does nothing, after each backward."""

    @hookimpl
    def after_backward(self) -> None:
        pass


def by_hand() -> nn.Module:
    model = Model()
    optimizer = AdamW(model.parameters(), lr=0.1)
    for inputs, target in [(INPUTS, TARGET)] * STEPS:
        optimizer.zero_grad()
        output = model(inputs)
        loss = mse(output, target)
        loss.backward()
        optimizer.step()
    return model


def through_trainer(plugins: int) -> nn.Module:
    trainer = Trainer(
        Model(),
        mse,
        partial(AdamW, lr=0.1),
        [(INPUTS, TARGET)] * STEPS,
        plugins=[Listens() for _ in range(plugins)],
    )
    trainer.fit(epochs=1)
    return trainer.model


def main() -> None:
    torch.set_num_threads(1)
    assert all(map(torch.equal, by_hand().parameters(), through_trainer(5).parameters()))
    seconds = interleaved(
        {
            "by hand": by_hand,
            "by hand, again": by_hand,
            "Trainer, no plugin": partial(through_trainer, 0),
            "Trainer, five listeners": partial(through_trainer, 5),
        },
        ROUNDS,
    )
    print(table(seconds, base="by hand", per=STEPS, unit="step"))


if __name__ == "__main__":
    main()
