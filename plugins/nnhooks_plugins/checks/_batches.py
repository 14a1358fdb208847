"""Batches: what a training step is made of, told by the loop, a DataLoader or the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nnhooks import Check

TARGETS = ("labels", "label", "targets", "target", "y")  # names that a dict gives a target
INPUTS = ("input_ids", "pixel_values", "inputs", "input", "images", "image", "x")
TOLD = "told"  # the source of batches that the loop tells of

CLASS_LOSSES = frozenset({F.cross_entropy, F.nll_loss})
VALUE_LOSSES = frozenset({F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss})
BINARY_LOSSES = frozenset({F.binary_cross_entropy, F.binary_cross_entropy_with_logits})
LOSSES = CLASS_LOSSES | VALUE_LOSSES | BINARY_LOSSES


def first_tensor(content: Any) -> Tensor | None:
    """Return the first tensor in a nest of tuples, lists and dicts."""
    if isinstance(content, Tensor):
        return content
    if isinstance(content, Mapping):
        named = [content[name] for name in INPUTS if name in content]
        content = [*named, *content.values()]
    if isinstance(content, Sequence) and not isinstance(content, str):
        return next((found for one in content if (found := first_tensor(one)) is not None), None)
    return None


def parts(batch: Any) -> tuple[Tensor | None, Tensor | None]:
    """Return inputs and target of a batch as a DataLoader gives it, as far as it has them."""
    if isinstance(batch, Mapping):
        target = next((batch[name] for name in TARGETS if name in batch), None)
        rest = {name: value for name, value in batch.items() if value is not target}
        return first_tensor(rest), first_tensor(target)
    if isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) > 1:
        return first_tensor(batch[0]), first_tensor(batch[-1])
    return first_tensor(batch), None


def loss_pair(
    function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any]
) -> tuple[Tensor, Tensor] | None:
    """Return prediction and target if this is the call of a loss in training."""
    if function not in LOSSES or not torch.is_grad_enabled():
        return None
    prediction = arguments[0] if arguments else keywords.get("input")
    target = arguments[1] if len(arguments) > 1 else keywords.get("target")
    if not isinstance(prediction, Tensor) or not isinstance(target, Tensor):
        return None
    if not prediction.requires_grad or hidden(prediction) or hidden(target):
        return None
    return prediction, target


def hidden(tensor: Tensor) -> bool:
    """Say whether nobody can look at the numbers: inside vmap or grad, or where there are none."""
    return tensor.device.type == "meta" or bool(
        torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def is_rows(tensor: Tensor | None) -> TypeGuard[Tensor]:
    """Say whether a tensor can be taken for rows of data that nothing has been computed from."""
    return (
        isinstance(tensor, Tensor)
        and tensor.layout is torch.strided
        and tensor.dim() > 0
        and tensor.numel() > 0
        and not tensor.is_complex()
        and not tensor.requires_grad
        and not hidden(tensor)
    )


def has_weights(model: nn.Module) -> bool:
    """Say whether this is a model, and not a loss or a transform that is a module too."""
    return next(model.parameters(), None) is not None


class SeesBatches(Check):
    """A check that is shown each training batch once, whoever tells of it.

    What the loop tells (`watch.batch`) comes first; else what a DataLoader has given when backward
    begins; else the inputs of a model that is called with gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.told = False
        self.waiting: dict[int, tuple[Any, Any]] = {}  # of each loader, until backward
        self.from_loader = False

    def saw_batch(self, inputs: Tensor, target: Tensor | None, source: Any) -> None:
        """Look at a training batch; `source` is TOLD, a DataLoader or a model."""

    def on_batch(self, inputs: Any, target: Any) -> None:
        if self.watch.phase == "evaluate":
            return
        self.told = True
        self.waiting.clear()
        self._show(first_tensor(inputs), first_tensor(target), TOLD)

    def on_fetched(self, loader: Any, batch: Any) -> None:
        if not self.told:
            self.waiting[id(loader)] = loader, batch
            self.from_loader = True

    def on_exhausted(self, loader: Any) -> None:
        self.waiting.pop(id(loader), None)

    def before_backward(self, losses: Sequence[Tensor]) -> None:
        waiting, self.waiting = self.waiting, {}
        for loader, batch in waiting.values():
            self._show(*parts(batch), loader)

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.told or self.from_loader or not torch.is_grad_enabled() or not model.training:
            return
        if has_weights(model):
            self._show(first_tensor(inputs), None, model)

    def _show(self, inputs: Tensor | None, target: Tensor | None, source: Any) -> None:
        if inputs is not None and is_rows(inputs):
            known = target is not None and is_rows(target)
            self.saw_batch(inputs, target if known else None, source)
