"""What repeats: the same seed gives the same run, and one taken up again is the one left off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks.findings import Finding
from nnhooks.probing.gradients import single_precision
from nnhooks.probing.rows import distance, gap
from nnhooks.probing.trial import Trial, seed_all

Resume = tuple[
    Callable[[], Any],
    Callable[[Any, int, int], Any],
    Callable[[Any], Any],
    Callable[[Any, Any], Any],
]


def not_reproducible(trial: Trial) -> Iterator[Finding]:
    """From the same seed, model and loss give the same numbers, bit for bit."""
    inputs, target = single_precision(trial)
    results = []
    for training in (True, False) if not trial.training else (True,):
        pairs = []
        for _ in range(2):
            copy = trial.copy(double=False, training=training)
            try:
                output = copy.answer(inputs)
                pairs.append((output, copy.value(output, target).detach()))
            except Exception:
                break  # such a model cannot be called in this mode
        if len(pairs) == 2:
            results.append(distance(*pairs))
    if max(results, default=0.0) == 0:
        return
    trial.random = True
    yield trial.finding(
        "warning",
        "not-reproducible",
        "the same seed does not give the same answer: some randomness is drawn elsewhere",
        of=trial.model,
        evidence=f"two answers from seed 0 differ by up to {max(results):.3g}",
        way_out=WAY_OUT,
    )


WAY_OUT = (
    "draw from torch, numpy.random or random, which a seed rules; not from SystemRandom,"
    " os.urandom, the clock, or an order of sets"
)


def repeat_differs(trial: Trial, repeat: Callable[[], Any]) -> Iterator[Finding]:
    """A run begun twice from the same seed ends the same."""
    ends = []
    for _ in range(2):
        seed_all(0)
        ends.append(flat(repeat()))
    if where := first_difference(*ends):
        yield trial.finding(
            "error",
            "not-reproducible",
            "two runs from the same seed end differently",
            of=repeat,
            about=where[0],
            evidence=where[1],
            way_out=WAY_OUT,
        )


def resume_differs(trial: Trial, resume: Resume) -> Iterator[Finding]:
    """A run saved in the middle and taken up again ends like one that was never interrupted."""
    build, train, save, load = resume
    seed_all(0)
    whole = build()
    train(whole, 0, 3)
    kept = save(whole)
    train(whole, 3, 6)

    seed_all(1)  # another process stands elsewhere
    again = build()
    load(again, kept)
    train(again, 3, 6)
    if where := first_difference(flat(whole), flat(again)):
        yield trial.finding(
            "error",
            "resume-differs",
            "a run that is saved and taken up again does not end like one that is not interrupted",
            of=load,
            about=where[0],
            evidence=where[1],
            way_out="save and load model, optimizer, scheduler, scaler and the random generators,"
            " and copy what is kept in memory",
        )


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return everything that counts in a value by name: tensors, numbers, states of objects."""
    if isinstance(value, nn.Module | Optimizer) or hasattr(value, "state_dict"):
        return flat(value.state_dict(), f"{name}{type(value).__name__}.")
    if isinstance(value, Mapping):
        pairs = [(str(key), one) for key, one in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [(str(number), one) for number, one in enumerate(value)]
    elif isinstance(value, Tensor | int | float | str | bool):
        return {name.rstrip("."): value}
    else:
        return {}
    return {key: one for part, inner in pairs for key, one in flat(inner, f"{name}{part}.").items()}


def first_difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the name of what differs first between two ends, and how; None if nothing does."""
    for name in [*one, *(name for name in other if name not in one)]:
        if name not in one or name not in other:
            return name, f"only one of the two has `{name}`"
        a, b = one[name], other[name]
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            if gap(a, b):
                return name, f"differs by up to {gap(a, b):.3g}"
        elif a != b and not (a != a and b != b):
            return name, f"{a!r} and {b!r}"
    return None


def metric_mismatch(
    trial: Trial, metrics: Mapping[str, Callable[[list[tuple[Any, Any]]], float]]
) -> Iterator[Finding]:
    """A metric does not depend on how the rows are cut into batches."""
    trial.needs(3)
    rows = trial.rows
    with torch.no_grad():
        output = trial.copy(training=False).answer(trial.inputs)
    whole = [(output, trial.target)]
    sizes = (rows.count // 2, rows.count - rows.count // 2 - 1, 1)
    parts = [part for part in rows.all().split(list(sizes)) if len(part)]
    ragged = [(rows.take(output, part), rows.take(trial.target, part)) for part in parts]
    for name, metric in metrics.items():
        once, several = float(metric(whole)), float(metric(ragged))
        wanted = reference(name, output, trial.target)
        wrong = wanted is not None and abs(once - wanted) > 1e-5 * max(1.0, abs(wanted))
        if wrong or abs(once - several) > 1e-5 * max(1.0, abs(once)):
            yield trial.finding(
                "error" if wanted is not None else "warning",
                "metric-mismatch",
                f"`{name}` is {once:.5g}, and should be {wanted:.5g}"
                if wrong
                else f"`{name}` depends on how the rows are cut into batches",
                of=metric,
                about=name,
                evidence=f"{once:.6g} of one batch, {several:.6g} of batches of"
                f" {', '.join(str(len(part)) for part in parts)} rows",
                way_out="add up sums and counts, and divide once at the end",
            )


def reference(name: str, output: Any, target: Any) -> float | None:
    """Return what a metric of this name is, where that is beyond doubt."""
    if not isinstance(output, Tensor) or not isinstance(target, Tensor):
        return None
    if name == "accuracy" and output.ndim == 2 and target.ndim == 1 and output.shape[1] > 1:
        return float((output.argmax(1) == target).double().mean())
    if name in ("mse", "mae") and output.shape == target.shape:
        gaps = output.double() - target.double()
        return float(gaps.square().mean() if name == "mse" else gaps.abs().mean())
    return None
