"""What a loss prefers: the right answer, row by row, whatever the order of the rows."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite, log
from typing import Any

import torch
from torch import Tensor

from nnhooks.findings import Finding
from nnhooks.probing.rows import changed, tensors
from nnhooks.probing.trial import Cannot, Copy, Trial


def classes(output: Any, target: Any) -> list[int]:
    """Return how many classes there may be, of an output with scores for whole-number targets."""
    scores, labels = tensors(output), tensors(target)
    if len(scores) != 1 or len(labels) != 1:
        return []
    score, label = scores[0], labels[0]
    if score.is_floating_point() and not label.is_floating_point() and not label.is_complex():
        return [score.shape[axis] for axis in {1, score.ndim - 1} if score.ndim > axis]
    if score.numel() == label.numel() and bool(((label >= 0) & (label <= 1)).all()):
        return [2]  # of a binary cross entropy
    return []


def loss_at_init(trial: Trial) -> Iterator[Finding]:
    """Before training no class is preferred: a cross entropy of C classes begins near ln C."""
    copy = trial.copy()
    output = copy.answer(trial.inputs)
    with torch.no_grad():
        first = float(copy.value(output, trial.target))
        try:
            undecided = float(copy.value(changed(torch.zeros_like, output), trial.target))
        except Exception:
            return  # the loss has its own ideas of what an output may be
    counts = [count for count in classes(output, trial.target) if count > 1]
    numel = max((one.numel() for one in tensors(trial.target)), default=1)
    for count in counts:
        for times in (1, numel):
            entropy = log(count) * times
            if abs(undecided - entropy) < 1e-3 * entropy and first > 3 * entropy + times:
                yield trial.finding(
                    "warning",
                    "loss-at-init",
                    "before training the model is confident, and wrong",
                    of=trial.model,
                    evidence=f"loss {first / times:.4g}; without any preference between"
                    f" {count} classes it is ln {count} = {log(count):.4g}",
                    way_out="initialise the last layer with small weights, or scale the inputs",
                )
                return


def loss_negated(trial: Trial) -> Iterator[Finding]:
    """The right answer costs less than the wrong one."""
    copy = trial.copy()
    output = copy.answer(trial.inputs)
    answers = right_and_wrong(output, trial.target)
    if answers is None:
        return
    with torch.no_grad():
        try:
            right, *wrong = [float(copy.value(one, trial.target)) for one in answers]
        except Exception:
            return
    if all(map(isfinite, (right, *wrong))) and all(right > one + 1e-6 for one in wrong):
        yield trial.finding(
            "warning",
            "loss-negated",
            "the loss is higher for the right answer than for a wrong one",
            of=trial.loss,
            evidence=f"right {right:.4g}, wrong {', '.join(f'{one:.4g}' for one in wrong)}",
            way_out="training minimises the loss: take the minus sign away",
        )


def right_and_wrong(output: Any, target: Any) -> list[Tensor] | None:
    """Return a right answer and two wrong ones, where it is plain what those are."""
    scores, labels = tensors(output), tensors(target)
    if len(scores) != 1 or len(labels) != 1 or not scores[0].is_floating_point():
        return None
    score, label = scores[0].detach(), labels[0]
    if score.shape == label.shape and label.is_floating_point():
        if bool(((label == 0) | (label == 1)).all()):
            sure = (label * 2 - 1) * 4
            return [sure, -sure]  # logits; of probabilities the loss complains
        return [label, label + 1, label - 1]
    if label.dtype == torch.long and score.ndim == label.ndim + 1 and score.shape[1] > 1:
        if score.shape[:1] + score.shape[2:] != label.shape:
            return None
        if int(label.min()) < 0 or int(label.max()) >= score.shape[1]:
            return None
        sure = torch.zeros_like(score).scatter_(1, label.unsqueeze(1), 4.0)
        return [sure.log_softmax(1), (-sure).log_softmax(1)]
    return None


def loss_permutation(trial: Trial) -> Iterator[Finding]:
    """Rows that change places, outputs and targets together, cost the same."""
    if trial.expect.get("batch_coupled"):
        return
    trial.needs(2)
    rows, copy = trial.rows, trial.copy()
    output = copy.answer(trial.inputs)
    if not any(map(rows.has, tensors(output))):
        raise Cannot(f"no output has one row for each of the {rows.count} rows of the batch")
    with torch.no_grad():
        first = float(copy.value(output, trial.target))
        for order in (rows.all().roll(1), rows.all().flip(0)):
            moved = rows.take(output, order), rows.take(trial.target, order)
            second = float(copy.value(*moved))
            if abs(first - second) > 10 * trial.tolerance * max(1.0, abs(first)):
                yield trial.finding(
                    "error" if trial.exchangeable else "warning",
                    "loss-permutation",
                    "the loss changes when rows change places, outputs and targets together:"
                    " an output is held against the target of another row",
                    of=trial.loss,
                    evidence=f"{first:.6g} becomes {second:.6g}; {shapes(output, trial.target)}",
                    way_out="compare shapes before the loss: outputs and targets should have"
                    " their rows in the same dimension, reshaped in the same order",
                )
                return


def loss_not_additive(trial: Trial) -> Iterator[Finding]:
    """What a row contributes depends on no other row, but for a factor all rows share."""
    if trial.expect.get("batch_coupled") or trial.found & {"loss-permutation"}:
        return
    trial.needs(3)
    copy = trial.copy()
    output = changed(Tensor.detach, copy.answer(trial.inputs))
    if not any(map(trial.rows.has, tensors(output))):
        return
    angle = coupling(trial, copy, output, trial.target)
    if angle < (1e-6 if trial.double else 1e-3):
        return
    straight = reshaped(output, trial.target)
    exact = False
    if straight is not None:
        try:
            exact = coupling(trial, copy, straight, trial.target) < 1e-6
        except Exception:
            exact = False
    yield trial.finding(
        "error" if exact or trial.expect.get("batch_coupled") is False else "warning",
        "loss-not-additive",
        "outputs and targets are broadcast against each other: each row is held against all targets"
        if exact
        else "what a row contributes to the loss depends on the other rows of its batch",
        of=trial.loss,
        evidence=f"{shapes(output, trial.target)}; with other rows beside it, the gradient of a"
        f" row turns (1 - cosine = {angle:.2g})",
        way_out="give output and target the same shape, as `output.squeeze(1)` does"
        if exact
        else "if rows belong together, as in a contrastive loss, declare"
        " `expect: {batch_coupled: true}`",
    )


def reshaped(output: Any, target: Any) -> Tensor | None:
    """Return the output in the shape of its target, if it has as many numbers in another."""
    scores, wanted = tensors(output), tensors(target)
    if len(scores) != 1 or len(wanted) != 1 or scores[0].shape == wanted[0].shape:
        return None
    return scores[0].reshape(wanted[0].shape) if scores[0].numel() == wanted[0].numel() else None


def coupling(trial: Trial, copy: Copy, output: Any, target: Any) -> float:
    """Return how far the gradients of the other rows turn when one row is replaced: 1 - cosine."""
    rows, worst = trial.rows, 0.0
    base = row_gradients(trial, copy, output, target)
    for replaced in (0, rows.count - 1):
        other = rows.all()
        other[replaced] = rows.count // 2
        now = row_gradients(trial, copy, rows.take(output, other), rows.take(target, other))
        rest = [row for row in range(rows.count) if row not in (replaced, rows.count // 2)]
        if len(rest) < 2:
            rest = [row for row in range(rows.count) if row != replaced]
        one, two = base[rest].flatten().double(), now[rest].flatten().double()
        size = float(one.norm() * two.norm())
        if size > 1e-12 and isfinite(size):
            worst = max(worst, 1 - float(one @ two) / size)
    return worst


def row_gradients(trial: Trial, copy: Copy, output: Any, target: Any) -> Tensor:
    """Return the gradient of the loss by the outputs, a row for each row."""
    leaves = changed(
        lambda one: one.detach().clone().requires_grad_() if one.is_floating_point() else one,
        output,
    )
    free = [one for one in tensors(leaves) if one.requires_grad and trial.rows.has(one)]
    found = copy.gradients(copy.value(leaves, target), free)
    parts = [trial.rows.aligned(one) for one in found if one is not None]
    if not parts:
        raise Cannot("the loss has no gradient by the outputs")
    return torch.cat(parts, 1)


def shapes(output: Any, target: Any) -> str:
    """Return the shapes of output and target as words."""
    words = [
        ", ".join(str(tuple(one.shape)) for one in tensors(value)) for value in (output, target)
    ]
    return f"output {words[0]}, target {words[1] or 'none'}"
