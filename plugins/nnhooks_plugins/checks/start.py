"""The first loss: a network that knows nothing yet should not be sure of anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from nnhooks import Check

EXPLAINED = {
    "loss-at-init": """\
The very first loss is far above that of guessing: the network is sure, and wrong.

Who knows nothing of C classes should give each 1/C, a cross entropy of ln C: 2.3 of 10 classes.
A much larger first loss means output weights (or inputs) of a far too large scale; the first
epochs are spent on shrinking them.

    nn.init.normal_(head.weight, std=20.0)              # wrong: first loss 50 of 4 classes
    nn.init.normal_(head.weight, std=0.01)              # right: first loss 1.39 = ln 4

An embedding tied to the output begins at deviation 1: give it std=0.02.
""",
}


class Start(Check):
    """Compares the first cross entropy with that of a guess."""

    def after_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        guess = GUESSES.get(function)
        if guess is None or self.watch.step > 1 or self.watch.phase == "evaluate":
            return
        named = dict(zip(("input", "target"), arguments, strict=False)) | dict(keywords)
        usual = named.get("reduction", "mean") != "sum" and all(
            named.get(name) is None for name in ("weight", "pos_weight")
        )
        if not usual or not isinstance(result, Tensor) or not result.requires_grad:
            return
        expected = guess(named["input"], named["target"])
        if expected is None or result.numel() == 0:
            return
        first = float(result.detach().mean())
        if first > 3 * expected + 1:
            self.find(
                "warning",
                "loss-at-init",
                "the first loss is far above that of a guess: the untrained network is sure",
                evidence=f"cross entropy {first:.3g}, a guess has {expected:.3g}",
                way_out="begin with smaller weights in the last layer, or scale the inputs",
            )


def one_of_many(logits: Tensor, target: Tensor) -> float | None:
    """Return ln C; nothing where the target is a place within the batch (contrastive losses)."""
    classes = logits.shape[1] if logits.ndim > 1 else logits.shape[0]
    if target.is_floating_point():
        return log(classes) if classes > 1 else None
    flat = target.flatten()
    own_place = flat.numel() == classes and flat.unique().numel() == classes
    same = bool((flat == flat[0]).all())
    return None if own_place or same or classes < 2 else log(classes)


def yes_or_no(logits: Tensor, target: Tensor) -> float:
    """Return ln 2."""
    return log(2)


GUESSES: dict[Any, Callable[[Tensor, Tensor], float | None]] = {
    F.cross_entropy: one_of_many,
    F.nll_loss: one_of_many,
    F.binary_cross_entropy: yes_or_no,
    F.binary_cross_entropy_with_logits: yes_or_no,
}
