"""What loss functions are given: logits, log-probabilities or probabilities, as each documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nnhooks import Check
from nnhooks.findings import Level
from nnhooks.watching.origins import Origin, name_of

from ._loss_words import EXPLAINED as EXPLAINED

NEAR = 1e-2  # how far a sum of probabilities may be from 1, or its logarithm from 0
Given = Mapping[str, Any]


class LossInputs(Check):
    """Looks at the arguments of loss functions: do they hold to what each documents?"""

    def on_start(self) -> None:
        self.seen: dict[str, list[Tensor]] = {}  # by argument: how often each class was the label
        self.contracts: dict[str, Callable[[Given, Origin], None]] = {
            "cross_entropy": self._cross_entropy,
            "nll_loss": self._nll,
            "kl_div": self._kl,
            "binary_cross_entropy": self._bce,
            "binary_cross_entropy_with_logits": self._bce_logits,
            "poisson_nll_loss": self._poisson,
            "mse_loss": self._softmax,
            "softmax": self._again,
            "log_softmax": self._again,
            "logsumexp": self._again,
            "sigmoid": self._again,
            "log_sigmoid": self._again,
            **dict.fromkeys(SIGNS, self._signs),
        }

    def after_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        name = name_of(function)
        contract = self.contracts.get(name)
        if contract is None:
            return
        positions = ORDER.get(name, ("input", "target", "weight"))
        given = dict(zip(positions, arguments, strict=False)) | dict(keywords) | {"name": name}
        if isinstance(given.get("input"), Tensor) and given["input"].numel():
            contract(given, self.watch.origins[given["input"]])

    def _say(self, rule: str, message: str, evidence: str, level: Level = "error") -> None:
        self.find(level, rule, message, evidence=evidence, way_out=WAYS_OUT[rule])

    # Classes

    def _cross_entropy(self, given: Given, origin: Origin) -> None:
        logits, target = given["input"], given.get("target")
        self._class_dimension(given, origin)
        self._targets(given)
        classes = class_size(logits)
        values = logits.detach()
        if classes == 1:
            self._say(
                "one-class",
                "cross_entropy over one class is 0 whatever the model says",
                f"logits {tuple(logits.shape)}",
            )
        elif origin.function == "softmax" and origin.dim == 0 and logits.ndim > 1:
            self._over_batch(logits)
        elif origin.function in ("softmax", "gumbel_softmax") or sums_to_one(values, classes):
            floor = math.log(1 + (classes - 1) / math.e)
            self._say(
                "double-softmax",
                "cross_entropy is given probabilities and takes their softmax once more",
                f"rows sum to 1; with {classes} classes the loss cannot fall below {floor:.4g}",
            )
        elif origin.function in ("sigmoid", "hardsigmoid", "tanh", "hardtanh", "relu6"):
            self._bounded_logits(origin, classes)
        elif origin.function == "relu":
            self._relu("cross_entropy", values)
        elif (
            isinstance(target, Tensor) and target.is_floating_point() and target.ndim == logits.ndim
        ):
            self._soft_targets(target)

    def _bounded_logits(self, origin: Origin, classes: int) -> None:
        floor = math.log(1 + (classes - 1) * math.exp(origin.low - origin.high))
        self._say(
            "sigmoid-before-ce",
            f"cross_entropy is given outputs of {origin.function}, not logits",
            f"between {origin.low:g} and {origin.high:g}; with {classes} classes the loss cannot "
            f"fall below {floor:.4g}",
        )

    def _relu(self, loss: str, values: Tensor) -> None:
        zeros = float((values == 0).double().mean())
        self._say(
            "relu-before-loss",
            f"{loss} is given logits from which a ReLU has cut off all below 0",
            f"{zeros:.0%} of the logits are 0 and have no gradient",
            "warning",
        )

    def _class_dimension(self, given: Given, origin: Origin) -> None:
        """Look whether the classes lie where the loss takes them from, row by row."""
        logits, target = given["input"], given.get("target")
        if not isinstance(target, Tensor):
            return
        rows, other = origin.rows, self.watch.origins[target].rows
        turned = rows != other and sorted(bare(rows)) == sorted(bare(other))
        if turned and bare(rows) != bare(other):
            self._say(
                "class-dim",
                "logits and labels were flattened in different orders: rows meet others' labels",
                f"logits from {rows}, labels from {other}",
            )
        elif origin.scrambled:
            self._say(
                "class-dim",
                "logits were reshaped across their dimension of classes, which mixes positions",
                f"{origin.scrambled} classes in a dimension that was not the last",
            )
        elif (
            origin.features not in (None, 1)
            and logits.ndim > 2
            and logits.shape[origin.features or 0] == logits.shape[1]
        ):
            self._say(
                "class-dim",
                "the classes are in the last dimension of the logits, the loss takes the second",
                f"logits {tuple(logits.shape)}, made by a Linear with its outputs last",
            )

    def _targets(self, given: Given) -> None:
        """Look at class numbers: some must count, and weights must not reward mistakes."""
        target, weight = given.get("target"), given.get("weight")
        ignored = given.get("ignore_index", -100)
        if isinstance(target, Tensor) and not target.is_floating_point() and target.numel():
            if bool((target == ignored).all()):
                self._say(
                    "ignore-everything",
                    "every label of the batch is ignored: the mean loss is 0/0",
                    f"{target.numel()} labels, all {ignored}",
                )
            elif isinstance(weight, Tensor):
                classes = class_size(given["input"])
                kept = target[(target >= 0) & (target < classes) & (target != ignored)]
                self._weights(given["name"], weight, kept.bincount(minlength=classes))
        if isinstance(weight, Tensor) and bool((weight < 0).any()):
            self._say(
                "weight-negative",
                "a class has a negative weight: its mistakes are rewarded",
                f"least weight {float(weight.min()):g}",
            )

    def _weights(self, name: str, weight: Tensor, counts: Tensor) -> None:
        """Look whether frequent classes are given more weight, as if by their counts."""
        seen = self.seen.setdefault(name, [])
        seen.append(counts.detach().double().cpu())
        total = torch.stack(seen).sum(0)
        if weight.shape != total.shape or float(total.sum()) < 100 or bool((total < 3).any()):
            return
        shares, weights = total / total.sum(), weight.detach().double().cpu()
        uneven = float(shares.max() / shares.min()) > 2 and bool((weights > 0).all())
        if uneven and follows(weights, shares):
            self._say(
                "weight-inverted",
                "the more frequent a class, the more it weighs: rare classes count even less",
                f"labels {percent(shares)}, weights {percent(weights / weights.sum())}",
                "warning",
            )

    def _soft_targets(self, target: Tensor) -> None:
        values = target.detach().double()
        low, high = float(values.min()), float(values.max())
        sums = values.sum(1)
        off = float(((sums - 1).abs() > NEAR).logical_and(sums.abs() > NEAR).double().mean())
        if low < -1e-6 or high > 1 + 1e-3 or off > 0.05:
            self._say(
                "soft-target-not-prob",
                "cross_entropy takes labels of floating point as probabilities; these are none",
                f"from {low:g} to {high:g}, rows sum to {float(sums.min()):.3g} to "
                f"{float(sums.max()):.3g}",
            )

    def _over_batch(self, values: Tensor) -> None:
        self._say(
            "softmax-over-batch",
            "the softmax was taken over the rows of the batch, not over the classes of a row",
            f"dim=0 of {tuple(values.shape)}",
        )

    # Log-probabilities

    def _nll(self, given: Given, origin: Origin) -> None:
        values = given["input"].detach()
        self._class_dimension(given, origin)
        self._targets(given)
        if origin.function == "log_softmax" and origin.dim == 0 and values.ndim > 1:
            self._over_batch(values)
        elif values.ndim > 1 and class_size(values) > 1:
            off = values.float().logsumexp(1)
            total = math.exp(min(float(off.max()), 99))
            if sums_to_one(values, class_size(values)):
                self._not_log("nll-not-logprob", "nll_loss", "probabilities, not their logarithms")
            elif float(off.max()) > NEAR and origin.function != "log_softmax":
                self._say(
                    "nll-not-logprob",
                    "nll_loss takes log-probabilities; these are not of any distribution",
                    f"the exponentials of a row sum to up to {total:.2g}",
                )

    def _kl(self, given: Given, origin: Origin) -> None:
        values, target = given["input"].detach(), given.get("target")
        if not isinstance(target, Tensor) or values.ndim < 1:
            return
        wanted, log_target = target.detach(), bool(given.get("log_target"))
        if origin.function == "softmax" or rows_sum_to_one(values):
            self._not_log("kl-not-logprob", "kl_div", "probabilities, not their logarithms")
        elif float(values.max()) > NEAR:
            self._say(
                "kl-not-logprob",
                "kl_div takes log-probabilities first, and these are above 0",
                f"up to {float(values.max()):.3g}",
            )
        if not log_target and float(wanted.min()) < -1e-6:
            self._say(
                "kl-target",
                "kl_div takes probabilities as target unless log_target=True; these are below 0",
                f"from {float(wanted.min()):.3g} to {float(wanted.max()):.3g}",
            )
        elif log_target and (float(wanted.max()) > NEAR or rows_sum_to_one(wanted)):
            self._say(
                "kl-target",
                "kl_div with log_target=True takes log-probabilities as target; these are none",
                f"from {float(wanted.min()):.3g} to {float(wanted.max()):.3g}",
            )

    def _not_log(self, rule: str, loss: str, what: str) -> None:
        self._say(rule, f"{loss} is given {what}", "rows lie between 0 and 1 and sum to 1")

    # Yes or no

    def _softmax(self, given: Given, origin: Origin) -> None:
        """Look whether a softmax runs over the outputs of one row."""
        values = given["input"]
        if origin.function != "softmax" or origin.dim is None:
            return
        if values.shape[origin.dim] == 1:
            self._say(
                "one-class",
                "the softmax of a single output is 1 whatever the model says",
                f"dim={origin.dim} of {tuple(values.shape)}",
            )
        elif origin.dim == 0 and values.ndim > 1:
            self._over_batch(values)

    def _bce(self, given: Given, origin: Origin) -> None:
        self._softmax(given, origin)
        self._yes_or_no(given)
        target = given.get("target")
        if isinstance(target, Tensor) and target.requires_grad and not given["input"].requires_grad:
            self._say(
                "loss-arguments-swapped",
                "binary_cross_entropy is given the labels first and the predictions second",
                "the first argument needs no gradient, the second does",
            )

    def _bce_logits(self, given: Given, origin: Origin) -> None:
        values = given["input"].detach()
        if origin.function in ("sigmoid", "hardsigmoid", "softmax"):
            self._say(
                "double-sigmoid",
                f"binary_cross_entropy_with_logits is given outputs of {origin.function}, and "
                "takes their sigmoid once more",
                "with logits of 0 to 1, probabilities are 0.5 to 0.731 only",
            )
        elif origin.function == "relu":
            self._relu("binary_cross_entropy_with_logits", values)
        elif origin.function == "log_softmax":
            self._say(
                "double-sigmoid",
                "binary_cross_entropy_with_logits is given log-probabilities, not logits",
                "none is above 0, so that no probability is above 0.5",
            )
        self._yes_or_no(given)
        self._positive_weight(given)

    def _yes_or_no(self, given: Given) -> None:
        target = given.get("target")
        if not isinstance(target, Tensor) or not target.numel():
            return
        values = target.detach()
        outside = values[(values < -1e-3) | (values > 1 + 1e-3)]
        masked = given.get("reduction") == "none" or given.get("weight") is not None
        sentinel = masked and outside.numel() and bool((outside == outside[0]).all())
        if outside.numel() and not (sentinel and float(outside[0]) < 0):
            self._say(
                "bce-target-range",
                f"{given['name']} takes targets between 0 and 1; the loss falls below 0 for others",
                f"{outside.numel()} of {values.numel()} targets outside, "
                f"from {float(values.min()):g} to {float(values.max()):g}",
            )

    def _positive_weight(self, given: Given) -> None:
        weight, target = given.get("pos_weight"), given.get("target")
        if not isinstance(weight, Tensor) or not isinstance(target, Tensor):
            return
        if bool((weight < 0).any()):
            self._say(
                "weight-negative",
                "pos_weight is negative: mistakes are rewarded",
                f"least {float(weight.min()):g}",
            )
        if weight.numel() != 1:
            return
        yes = float((target > 0.5).sum())
        seen = self.seen.setdefault("pos_weight", [])
        seen.append(torch.tensor([target.numel() - yes, yes], dtype=torch.float64))
        no, yes = torch.stack(seen).sum(0).tolist()
        if no + yes < 100 or min(no, yes) < 3 or max(no, yes) < 2 * min(no, yes):
            return
        value = float(weight)
        if value > 0 and abs(math.log(value * no / yes)) < 0.4:
            self._say(
                "weight-inverted",
                "pos_weight is positives over negatives; it is meant to be the reverse",
                f"pos_weight {value:.3g}, {yes:.0f} positives, {no:.0f} negatives",
                "warning",
            )

    # Others

    def _poisson(self, given: Given, origin: Origin) -> None:
        if given.get("log_input", True) and origin.function in ("exp", "softplus", "relu"):
            self._say(
                "poisson-not-log",
                "poisson_nll_loss takes the logarithm of a rate, and exponentiates it once more",
                f"its input is made by {origin.function}: a rate, never below 0",
            )

    def _signs(self, given: Given, origin: Origin) -> None:
        target = given.get("target")
        if isinstance(target, Tensor) and target.numel():
            values = target.detach()
            wrong = float((values.abs() != 1).double().mean())
            if wrong > 0:
                self._say(
                    "target-not-sign",
                    f"{given['name']} takes targets of 1 and -1; others are not what they seem",
                    f"{wrong:.0%} of the targets are neither: {float(values.min()):g} to "
                    f"{float(values.max()):g}",
                )

    def _again(self, given: Given, origin: Origin) -> None:
        """Look whether probabilities are squashed once more, whatever the loss."""
        name = given["name"]
        squashed = "softmax" if name in ("softmax", "log_softmax", "logsumexp") else "sigmoid"
        if not given["input"].requires_grad or origin.function != squashed:
            return
        if squashed == "sigmoid":
            self._say(
                "double-sigmoid",
                f"{name} is taken of the outputs of a sigmoid",
                "with inputs of 0 to 1, outputs are 0.5 to 0.731 only",
                "warning",
            )
        elif origin.dim is not None and class_of(given, name) in (None, origin.dim):
            self._say(
                "double-softmax",
                f"{name} is taken of the outputs of a softmax",
                "its inputs sum to 1 already, so that its outputs are nearly even",
                "warning",
            )


SIGNS = {
    "cosine_embedding_loss",
    "margin_ranking_loss",
    "hinge_embedding_loss",
    "soft_margin_loss",
}
ORDER = {
    "cosine_embedding_loss": ("input", "input2", "target"),
    "margin_ranking_loss": ("input", "input2", "target"),
    "softmax": ("input", "dim"),
    "log_softmax": ("input", "dim"),
    "logsumexp": ("input", "dim"),
}
WAYS_OUT = {
    "one-class": "give one output for each class, or one output and "
    "binary_cross_entropy_with_logits",
    "softmax-over-batch": "take it over the classes: `dim=1` or `dim=-1`",
    "double-softmax": "leave out the softmax: the loss needs logits",
    "double-sigmoid": "leave out the sigmoid, or use binary_cross_entropy on its outputs",
    "sigmoid-before-ce": "leave out the last activation: cross_entropy needs logits",
    "relu-before-loss": "leave out the last ReLU: logits may be negative",
    "class-dim": "bring the classes last, then `logits.reshape(-1, classes)` and "
    "`labels.reshape(-1)`; or to dimension 1: `logits.transpose(1, 2)`",
    "ignore-everything": "skip such a batch, or look where its labels were lost",
    "weight-negative": "use weights of at least 0",
    "weight-inverted": "weigh by the inverse of the counts: `total / counts`; for pos_weight "
    "`negatives / positives`",
    "soft-target-not-prob": "give class numbers as int64, or rows that sum to 1; for several "
    "classes at once use binary_cross_entropy_with_logits",
    "nll-not-logprob": "use cross_entropy on logits, or log_softmax before nll_loss",
    "kl-not-logprob": "give the logarithm first: `F.kl_div(logits.log_softmax(-1), target)`",
    "kl-target": "set log_target as the target is: probabilities False, logarithms True",
    "loss-arguments-swapped": "prediction first, label second",
    "bce-target-range": "make 0 and 1 of the labels; for several classes use cross_entropy",
    "poisson-not-log": "leave out the exp, or say `log_input=False`",
    "target-not-sign": "turn 0 and 1 into -1 and 1: `2 * y - 1`",
}


def class_size(logits: Tensor) -> int:
    """Return how many classes cross_entropy takes these logits for."""
    return int(logits.shape[1] if logits.ndim > 1 else logits.shape[0])


def class_of(given: Given, name: str) -> int | None:
    """Return the dimension that a softmax or logsumexp is taken over."""
    dim, source = given.get("dim"), given["input"]
    if isinstance(dim, list | tuple):
        dim = dim[0]
    return dim % source.ndim if isinstance(dim, int) else None


def sums_to_one(values: Tensor, classes: int) -> bool:
    """Say whether rows are probabilities over dimension 1, by their values."""
    if values.ndim < 2 or classes < 2 or len(values) < 2:
        return False
    sums = values.float().sum(1)
    return bool((values >= 0).all() & ((sums - 1).abs() < 1e-3).all())


def rows_sum_to_one(values: Tensor) -> bool:
    """Say whether rows are probabilities over the last dimension, by their values."""
    if values.ndim < 1 or values.shape[-1] < 2:
        return False
    sums = values.float().sum(-1)
    return bool((values >= 0).all() & ((sums - 1).abs() < 1e-3).all())


def follows(weights: Tensor, shares: Tensor) -> bool:
    """Say whether weights are proportional to shares, nearly."""
    ratio = (weights / shares).log()
    return bool((ratio - ratio.mean()).abs().max() < 0.4)


def bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its dimensions of size 1."""
    return tuple(size for size in shape if size > 1)


def percent(shares: Tensor) -> str:
    """Return shares as text."""
    return ", ".join(f"{share:.0%}" for share in shares[:4].tolist())
