"""Does the model train when it is trained, and evaluate when it is evaluated? In plain PyTorch:

register_module_forward_pre_hook(...)     # model.training, torch.is_grad_enabled()
register_optimizer_step_post_hook(...)    # which of these passes did it train by?
batch_norm.running_mean._version          # has an evaluation moved it?
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.optim import Optimizer

from nnhooks import Check
from nnhooks_plugins.checks._followed import held_by

STEPS = 2  # trained in evaluation mode, before that is no exception
ROW = 2  # forward passes without gradients in training mode, with nothing between
FAR = 4  # or single ones with so many steps of the model's optimizer between
BLIND = 8  # steps of the optimizer in which a model of its parameters never had gradients


class Mode:
    """What is known of a model that is called: in which modes, and what depends on them."""

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        self.norms = [m for m in modules if isinstance(m, _NormBase) and m.track_running_stats]
        self.drops: list[nn.Module] = [m for m in modules if isinstance(m, _DropoutNd) and m.p > 0]
        self.drops += [m for m in modules if getattr(m, "dropout", 0) and isinstance(m, nn.RNNBase)]
        self.own = {id(parameter) for parameter in model.parameters()}
        self.training: bool | None = None  # in its latest pass with gradients
        self.has_trained = self.has_evaluated = False
        self.wrong = 0  # steps in a row in evaluation mode
        self.row = self.single = self.since = 0
        self.with_grad = False
        self.blind = 0
        self.versions = 0

    @property
    def differs(self) -> bool:
        """Say whether the mode makes a difference."""
        return bool(self.norms or self.drops)

    def stands(self) -> int:
        """Return a number that grows when running statistics move."""
        counts = [m.num_batches_tracked for m in self.norms]
        return sum(count._version for count in counts if count is not None)

    def named(self) -> str:
        """Say what depends on the mode."""
        kinds = {type(module).__name__ for module in [*self.norms, *self.drops]}
        return f"{len(self.norms) + len(self.drops)} modules: {', '.join(sorted(kinds))}"


class Modes(Check):
    """Judges train() and eval() by the passes that are made in them."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: WeakKeyDictionary[nn.Module, Mode] = WeakKeyDictionary()

    def mode(self, model: nn.Module) -> Mode:
        """Return what is known of a model."""
        if model not in self.modes:
            self.modes[model] = Mode(model)
        return self.modes[model]

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        mode = self.mode(model)
        if torch.is_grad_enabled():
            mode.training, mode.with_grad, mode.row = model.training, True, 0
        elif mode.norms:
            mode.versions = mode.stands()

    def after_forward(self, model: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if torch.is_grad_enabled():
            return
        mode = self.mode(model)
        if not model.training:
            mode.has_evaluated = True
            if mode.norms and mode.stands() > mode.versions:
                self.say_moved(mode)
        elif mode.differs and mode.with_grad:
            self.judge_evaluation(mode)

    def before_backward(self, losses: Any) -> None:
        for mode in self.modes.values():
            mode.row = 0

    def after_step(self, optimizer: Optimizer) -> None:
        first = next((p for p in held_by(optimizer) if p.requires_grad), None)
        for mode in list(self.modes.values()):
            if id(first) not in mode.own:
                continue
            mode.since += 1
            mode.row = 0
            if mode.training is None:
                mode.blind += 1
                if mode.blind == BLIND:
                    self.say_blind(mode)
            elif mode.training:
                mode.has_trained, mode.wrong = True, 0
            else:
                mode.wrong += 1
                if mode.wrong == STEPS and mode.differs:
                    self.judge_training(mode)

    def judge_training(self, mode: Mode) -> None:
        """Judge training in evaluation mode."""
        told = self.watch.phase == "train"
        if mode.has_trained or mode.has_evaluated or mode.drops or told:
            left_on = mode.has_trained and (mode.has_evaluated or told)
            self.find(
                "error" if left_on else "warning",
                "train-in-eval-mode",
                "the model is trained in evaluation mode"
                + (": eval() was left on" if left_on else ""),
                evidence=f"{STEPS} steps with training=False; it matters to {mode.named()}",
                way_out="call model.train() before training, and again after each evaluation",
            )

    def judge_evaluation(self, mode: Mode) -> None:
        """Judge passes without gradients in training mode."""
        if self.watch.phase == "evaluate":
            self.say_training(mode, "in the evaluation that was announced")
            return
        mode.row += 1
        if mode.row == ROW and mode.has_trained:
            self.say_training(mode, f"{ROW} passes without gradients in a row")
        if mode.row == 1:
            mode.single = mode.single + 1 if mode.since >= FAR else 0
            mode.since = 0
            if mode.single == 2:
                self.say_training(mode, "again and again between the steps of training")

    def say_training(self, mode: Mode, when: str) -> None:
        """Report an evaluation in training mode."""
        self.find(
            "warning",
            "eval-in-train-mode",
            "the model is evaluated in training mode",
            evidence=f"training=True {when}; it matters to {mode.named()}",
            way_out="call model.eval() before evaluation, and model.train() after it",
        )

    def say_moved(self, mode: Mode) -> None:
        """Report running statistics that an evaluation has moved."""
        self.find(
            "warning",
            "eval-updates-buffers",
            "running statistics have moved in an evaluation: a normalization is in training mode "
            "inside a model that is not",
            evidence=f"{sum(m.training for m in mode.norms)} of {len(mode.norms)} normalizations "
            "have training=True",
            way_out="call eval() on the whole model",
        )

    def say_blind(self, mode: Mode) -> None:
        """Report a model that is in the optimizer, and never called with gradients."""
        self.find(
            "warning",
            "train-no-grad",
            "a model whose parameters the optimizer holds is only ever called without gradients",
            evidence=f"{BLIND} steps of the optimizer, none of this model's passes with gradients",
            way_out="call it outside of torch.no_grad(), or leave it out of the optimizer",
        )


EXPLAINED = {
    "train-in-eval-mode": """\
In evaluation mode dropout does nothing and batch normalization neither uses the batch nor learns
from it. eval() stays on until train() is called.

    wrong: model.train()
           for epoch in epochs: train(model); model.eval(); validate(model)
    right: for epoch in epochs: model.train(); train(model); model.eval(); validate(model)
""",
    "eval-in-train-mode": """\
In training mode dropout drops, so that the score is too low and another one each time, and batch
normalization learns from the validation data.

    wrong: with torch.no_grad(): score(model(x))
    right: model.eval()
           with torch.no_grad(): score(model(x))
           model.train()
""",
    "eval-updates-buffers": """\
model.eval() reaches every module inside. If a normalization still moves, somebody has called
train() on it since, or it is not registered as a module of the model.

    wrong: model.eval(); model.backbone.train(); validate(model)
    right: model.eval(); validate(model)
""",
    "train-no-grad": """\
What runs under torch.no_grad() is not trained, whatever the optimizer holds.

    wrong: with torch.no_grad(): features = backbone(x)
           head(features) ...  # and the optimizer holds both
    right: features = backbone(x)
""",
}
