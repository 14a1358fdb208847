"""A mean over many batches that stays on the device until somebody asks for it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Mean:
    """The sum of what was added, divided by how many samples that was.

    Adding never waits for the device; only `value` does, once an epoch. The sum is kept in
    float64, so that a million batches lose no digit of it, and is a plugin's state as it stands.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.sum: Tensor | None = None
        self.count: int | Tensor = 0

    def add(self, amount: Tensor, times: int = 1, count: int | Tensor | None = None) -> None:
        """Add `amount * times`; it stands for `count` samples, or for `times` of them."""
        amount = amount.detach()
        if self.sum is None:
            wide = torch.float32 if amount.device.type == "mps" else torch.float64
            self.sum = torch.zeros((), dtype=wide, device=amount.device)
        self.sum = torch.add(self.sum, amount, alpha=times)
        self.count = self.count + (times if count is None else count)

    @property
    def value(self) -> float | None:
        """The mean of what was added; None if that is nothing."""
        count = int(self.count)
        return self.sum.item() / count if self.sum is not None and count else None

    def state_dict(self) -> dict[str, Any]:
        """Return the sum and the count, as they stand."""
        return {"sum": self.sum, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from this sum and count."""
        self.sum, self.count = state["sum"], state["count"]
