"""No step larger than this.

In plain PyTorch:

    loss.backward()
    clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
"""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Gt
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from nnhooks import Trainer, hookimpl


class GradientClipping:
    """Scales the whole gradient down to a norm of at most `max_norm` before it moves anything.

    Logs `gradient_norm`: the epoch's mean of what the norms were before clipping. They are summed
    where the gradients are, so no step waits for a device. Skipped steps do not count.
    """

    def __init__(
        self, max_norm: Annotated[float, Gt(0)] = 1.0, norm_type: Annotated[float, Gt(0)] = 2.0
    ) -> None:
        self.max_norm, self.norm_type = max_norm, norm_type
        self.total: Tensor | float = 0.0
        self.steps = 0

    @hookimpl
    def before_optimizer_step(self, trainer: Trainer) -> None:
        if trainer.skip_reason:
            return
        parameters = [p for group in trainer.optimizer.param_groups for p in group["params"]]
        norm = clip_grad_norm_(parameters, self.max_norm, self.norm_type)
        self.total, self.steps = self.total + norm, self.steps + 1

    @hookimpl
    def on_evaluate(self, trainer: Trainer) -> None:
        if self.steps:
            trainer.log("gradient_norm", float(self.total) / self.steps)
        self.total, self.steps = 0.0, 0

    def state_dict(self) -> dict[str, Any]:
        return {"total": float(self.total), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.total, self.steps = state["total"], state["steps"]
