"""Fingerprints: one number for each row of data, the same wherever the row turns up again."""

from __future__ import annotations

import torch
from torch import Tensor

MOST_COLUMNS = 2048  # of wider rows so many are looked at, evenly spread


def flat(rows: Tensor, most: int = MOST_COLUMNS) -> Tensor:
    """Return rows as a matrix of at most so many evenly spread columns: (n, at most `most`)."""
    matrix = rows.detach().reshape(len(rows), -1)
    return matrix[:, :: -(-matrix.shape[1] // most)]


class Prints:
    """Projects rows onto one random direction, drawn from a generator of its own."""

    def __init__(self) -> None:
        self.directions: dict[tuple[int, str], Tensor] = {}
        self.scales: dict[tuple[int, str], float] = {}

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the fingerprint of each row, in whole numbers: (n,) float64."""
        matrix = flat(rows).double()
        key = matrix.shape[1], str(matrix.device)
        if key not in self.directions:
            generator = torch.Generator().manual_seed(20_240)
            direction = torch.randn(key[0], generator=generator, dtype=torch.float64)
            self.directions[key] = direction.to(matrix.device)
            self.scales[key] = float(matrix.abs().mean()) * key[0] ** 0.5 or 1.0
        projected = matrix.mv(self.directions[key])
        # Rounded, because sums depend on the size of the batch in their last digits.
        return (projected * (1e9 / self.scales[key])).round()
