"""Asking a model without teaching it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from nnhooks.data import Batch


def predictions(model: nn.Module, batches: Iterable[Batch]) -> Iterator[tuple[Any, Any]]:
    """Yield (output, target) of each batch, in eval mode and without gradients.

    Between two batches the caller's own gradient mode is in force; afterwards every module is in
    the mode it was in, a frozen BatchNorm left in eval mode included.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        for inputs, target in batches:
            with torch.no_grad():
                output = model(inputs)
            yield output, target
    finally:
        for module in training:
            module.training = True
