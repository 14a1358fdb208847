"""Are scaled losses unscaled before their gradients are used, and only those? In plain PyTorch:

GradScaler.scale, GradScaler.unscale_                   # wrapped
loss.grad_fn.metadata[...] = ...                        # which loss was scaled?
register_optimizer_step_pre_hook(...)                   # are the gradients unscaled by now?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from nnhooks import Check
from nnhooks_plugins.checks._followed import Following

SCALED = "nnhooks.scaled"  # what we write on the graph
AGAIN = 2  # times that a mistake is seen before it is said
SKIPPED = 20  # steps in a row that a scaler leaves out: its scale has fallen a million times


class Scaling(Check):
    """Judges mixed precision: scale(loss), backward, unscale_ (or not), clip, step, update."""

    def __init__(self) -> None:
        super().__init__()
        self.following = Following()
        self.scaler: Any = None
        self.scaled = False  # was the loss of the last backward pass a scaled one?
        self.calls = 0  # of scale since the last pass
        self.state: dict[Optimizer, str] = {}  # of its gradients: scaled, plain or unscaled
        self.clip = 0.0  # the limit gradients were clipped to since the last pass
        self.seen: Counter[str] = Counter()
        self.skipped: Counter[Optimizer] = Counter()

    def on_optimizer(self, optimizer: Optimizer) -> None:
        if self.scaler is not None:
            self.following.follow(optimizer)

    def after_scale(self, scaler: Any, losses: Any) -> None:
        if not scaler.is_enabled() or scaler.get_scale() == 1:
            return
        if self.scaler is None:
            self.meet(scaler)
        self.calls += 1
        for loss in [losses] if isinstance(losses, Tensor) else list(losses):
            if isinstance(loss, Tensor) and loss.grad_fn is not None:
                metadata: Any = loss.grad_fn.metadata
                metadata[SCALED] = True

    def before_backward(self, losses: Sequence[Tensor]) -> None:
        if self.scaler is None:
            return
        for optimizer in tuple(self.following.of):
            self.following.look(optimizer, self.watch.step)
        self.scaled = self.calls > 0
        if self.scaled and self.watch.inspecting and self.watch.graph:
            roots = {loss.grad_fn for loss in losses}
            marked = [node for node in self.watch.graph.nodes if SCALED in node.metadata]
            if marked:  # a loss that is sent backward itself was not what scale returned
                self.scaled = any(node not in roots for node in marked)
            elif any(loss.grad_fn is not None for loss in losses):
                self.scaled = False

    def after_backward(self, losses: Sequence[Tensor]) -> None:
        if self.scaler is None:
            return
        state = "scaled" if self.scaled else "plain"
        for optimizer, gradients in self.following.passed(0, self.watch.step).items():
            mixed = any(one.passes > 1 for one in gradients) and self.state.get(optimizer) != state
            self.state[optimizer] = "mixed" if mixed else state
        self.calls, self.clip = 0, 0.0

    def after_clip(self, parameters: Sequence[Tensor], limit: float, norm: Tensor | None) -> None:
        self.clip = limit
        for gradients in self.following.of.values() if self.scaler is not None else ():
            for followed in gradients:
                if followed.passes:
                    followed.remember()

    def after_unscale(self, scaler: Any, optimizer: Optimizer) -> None:
        if not scaler.is_enabled():
            return
        if self.scaler is None and scaler.get_scale() != 1:
            self.meet(scaler)
        if self.scaler is None:
            return
        self.skipped[optimizer] += 1
        if self.skipped[optimizer] == SKIPPED:
            self.say_skipped(scaler)
        self.judge_clip(scaler)
        if self.state.get(optimizer) in ("plain", "mixed") and self.is_again("amp-unscaled-loss"):
            self.say_unscaled_loss(scaler)
        self.state[optimizer] = "unscaled"
        for followed in self.following[optimizer]:
            if followed.passes:
                followed.remember()

    def before_step(self, optimizer: Optimizer) -> None:
        if self.scaler is None:
            return
        self.skipped[optimizer] = 0
        state = self.state.pop(optimizer, "")
        inside = getattr(optimizer, "grad_scale", None) is not None  # it unscales while it steps
        if inside:
            self.judge_clip(self.scaler)
            if state == "plain" and self.is_again("amp-unscaled-loss"):
                self.say_unscaled_loss(self.scaler)
        elif (
            state == "scaled" and not self.by_hand(optimizer) and self.is_again("amp-not-unscaled")
        ):
            self.say_not_unscaled(optimizer)

    def after_step(self, optimizer: Optimizer) -> None:
        for followed in self.following[optimizer] if self.scaler else ():
            followed.spend()

    def meet(self, scaler: Any) -> None:
        """Begin to follow gradients: somebody scales."""
        self.scaler = scaler
        for optimizer in self.watch.optimizers:
            self.following.follow(optimizer)

    def by_hand(self, optimizer: Optimizer) -> bool:
        """Say whether the loop itself has changed gradients since backward: divided them."""
        return any(one.has_changed() for one in self.following[optimizer])

    def is_again(self, rule: str) -> bool:
        """Count what was seen; say whether it is no exception any more."""
        self.seen[rule] += 1
        return self.seen[rule] == AGAIN

    def judge_clip(self, scaler: Any) -> None:
        """Judge a limit that was applied to gradients that are still scaled."""
        scale = scaler.get_scale()
        if self.clip and scale > 1 and self.clip < 0.01 * scale:
            self.find(
                "error",
                "clip-before-unscale",
                "gradients were clipped while they were still scaled: the limit is far smaller "
                "than it looks",
                evidence=f"limit {self.clip:g}, scale {scale:g}: really {self.clip / scale:.3g}",
                way_out="call scaler.unscale_(optimizer) before clipping",
            )
        self.clip = 0.0

    def say_unscaled_loss(self, scaler: Any) -> None:
        """Report gradients that were divided by a scale they had never been multiplied by."""
        self.find(
            "error",
            "amp-unscaled-loss",
            "gradients are unscaled, but the loss they come from was not scaled",
            evidence=f"every gradient is divided by {scaler.get_scale():g}",
            way_out="call scaler.scale(loss).backward() instead of loss.backward()",
        )

    def say_not_unscaled(self, optimizer: Optimizer) -> None:
        """Report scaled gradients that were used as they were."""
        self.find(
            "error",
            "amp-not-unscaled",
            f"{type(optimizer).__name__} stepped with gradients of a scaled loss",
            evidence=f"every gradient is {self.scaler.get_scale():g} times too large",
            way_out="call scaler.step(optimizer) instead of optimizer.step()",
        )

    def say_skipped(self, scaler: Any) -> None:
        """Report that nothing is stepped."""
        self.find(
            "warning",
            "amp-always-skips",
            "the scaler leaves out every step: gradients are never finite",
            evidence=f"{SKIPPED} steps in a row; the scale is {scaler.get_scale():g} by now",
            way_out="find what is not finite with torch.autograd.set_detect_anomaly(True)",
        )


EXPLAINED = {
    "clip-before-unscale": """\
Between scaler.scale(loss).backward() and scaler.unscale_(optimizer), gradients are thousands of
times larger than they will be. A limit applied there cuts nearly all of them away.

    wrong: scaler.scale(loss).backward(); clip_grad_norm_(model.parameters(), 1.0)
           scaler.step(optimizer); scaler.update()
    right: scaler.scale(loss).backward(); scaler.unscale_(optimizer)
           clip_grad_norm_(model.parameters(), 1.0); scaler.step(optimizer); scaler.update()
""",
    "amp-unscaled-loss": """\
scaler.step() divides gradients by the scale. Without scaler.scale(loss), or if what it returns is
not what goes backward, they become thousands of times too small.

    wrong: loss.backward(); scaler.step(optimizer); scaler.update()
    right: scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()
""",
    "amp-not-unscaled": """\
Gradients of a scaled loss are thousands of times too large until they are unscaled, which
scaler.step() does.

    wrong: scaler.scale(loss).backward(); optimizer.step()
    right: scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()
""",
    "amp-always-skips": """\
A GradScaler leaves a step out if a gradient is not finite, and halves its scale. If that happens
again and again, it is not the scale: the loss or a gradient is NaN or infinite by itself.
""",
}
