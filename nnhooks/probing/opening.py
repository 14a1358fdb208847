"""Opening a probe: which trials there are, and what of the user's own has to be left untouched."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks.findings import Finding
from nnhooks.probing import answers, gradients, learning, losses, repeating
from nnhooks.probing.trial import Cannot, Probe, Trial
from nnhooks.state import random_state, set_random_state

PROBES: dict[str, Probe] = {  # by the rule they may break; the quick ones first
    "not-reproducible": repeating.not_reproducible,
    "eval-nondeterministic": answers.eval_nondeterministic,
    "eval-updates-buffers": answers.eval_changes_state,
    "loss-at-init": losses.loss_at_init,
    "loss-negated": losses.loss_negated,
    "loss-permutation": losses.loss_permutation,
    "loss-not-additive": losses.loss_not_additive,
    "batch-mixing": answers.batch_mixing,
    "batch-of-one": answers.batch_of_one,
    "future-leak": answers.future_leak,
    "gradient-stopped": gradients.gradient_stopped,
    "gradient-wrong": gradients.gradient_wrong,
    "uphill": gradients.uphill,
    "input-ignored": answers.input_ignored,
    "cannot-overfit": learning.cannot_overfit,
}

OWN: dict[str, tuple[str, Callable[[Any, Trial], Iterator[Finding]]]] = {  # by what is given
    "accumulate": ("accumulation-differs", lambda own, t: gradients.accumulation_differs(t, own)),
    "repeat": ("repeat-differs", lambda own, t: repeating.repeat_differs(t, own)),
    "resume": ("resume-differs", lambda own, t: repeating.resume_differs(t, own)),
    "metrics": ("metric-mismatch", lambda own, t: repeating.metric_mismatch(t, own)),
}


def probe(
    model: nn.Module,
    inputs: Any,
    target: Any,
    loss: Callable[[Any, Any], Tensor],
    optimizer: Optimizer | None = None,
    *,
    expect: Mapping[str, Any] | None = None,
    ask: Callable[[nn.Module, Any], Any] | None = None,
    accumulate: Callable[[nn.Module, Any, Any], Any] | None = None,
    repeat: Callable[[], Any] | None = None,
    resume: repeating.Resume | None = None,
    metrics: Mapping[str, Callable[[list[tuple[Any, Any]]], float]] | None = None,
    seconds: float = 5.0,
) -> list[Finding]:
    """Try out a model on one batch, before training: what must hold of any, and does not here?

    Everything happens on copies, and the random generators are put back. `loss(output, target)`
    is a number; `ask(model, inputs)` is how the model is called, where that is not
    `model(inputs)`. `expect` declares what is so: `batch_coupled`, `causal`, `random_eval`,
    `batch_axis`, `shuffle`. What only the program knows how to do, it may give as functions:

    - `accumulate(model, inputs, target)` goes backward through small batches, without a step
    - `repeat()` is a short run from the seed it is given; what it returns is compared
    - `resume` is build() -> parts, train(parts, first, last), save(parts) -> state and
      load(parts, state)
    - `metrics` are functions of a list of (output, target), by name

    What could not be tried within `seconds`, or at all, is a `not_run` finding.
    """
    trial = Trial(
        model, inputs, target, loss, optimizer, expect=dict(expect or {}), ask=ask, seconds=seconds
    )
    own = {"accumulate": accumulate, "repeat": repeat, "resume": resume, "metrics": metrics}
    given = {OWN[name][0]: partial(OWN[name][1], how) for name, how in own.items() if how}
    probes: dict[str, Probe] = {**PROBES, **given}
    with untouched(model):
        return list(tried(trial, probes))


def tried(trial: Trial, probes: Mapping[str, Probe]) -> Iterator[Finding]:
    """Try each probe; one that cannot be tried says why, and the others go on."""
    try:
        trial.settle()
    except Exception as error:
        yield not_run("probe", f"model and loss cannot be called on this batch: {error}")
        return
    for rule, one in probes.items():
        if trial.left < 0:
            yield not_run(rule, "the time was up")
            continue
        try:
            yield from one(trial)
        except Cannot as reason:
            yield not_run(rule, str(reason))
        except Exception as error:
            yield not_run(rule, f"{type(error).__name__}: {error}")


def not_run(rule: str, reason: str) -> Finding:
    """Return the finding that something was not tried, and why."""
    return Finding(check="probe", rule=rule, level="not_run", message=f"not tried: {reason}")


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Keep gradients, buffers and random generators as they are; let nothing be printed."""
    state = random_state()
    gradients_ = [(parameter, parameter.grad) for parameter in model.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    for parameter, _ in gradients_:
        parameter.grad = None  # a loss that holds the model itself would add to it
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(StringIO()),
            torch.enable_grad(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for parameter, gradient in gradients_:
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)
        set_random_state(state)
