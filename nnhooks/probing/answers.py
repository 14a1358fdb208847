"""What a model answers: to each row by itself, from every input, and twice the same."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nnhooks.findings import Finding
from nnhooks.probing.rows import changed, distance, gap, scale, tensors
from nnhooks.probing.trial import Cannot, Trial
from nnhooks.watching.places import own_line

NOISE = ("normal", "randn")  # drawn on purpose: a latent variable, a diffusion step


class Draws(TorchDispatchMode):
    """Sees which operations draw random numbers, and from which line."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: dict[str, str] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), keywords: Any = None
    ) -> Any:
        if torch.Tag.nondeterministic_seeded in operation.tags:
            self.seen.setdefault(operation.overloadpacket.__name__.strip("_"), own_line("nnhooks"))
        return operation(*arguments, **(keywords or {}))


def eval_nondeterministic(trial: Trial) -> Iterator[Finding]:
    """In eval mode the same inputs give the same output."""
    if trial.expect.get("random_eval"):
        return
    with Draws() as draws, torch.no_grad():
        first = trial.copy(training=False).answer(trial.inputs, seed=0)
    with torch.no_grad():
        second = trial.copy(training=False).answer(trial.inputs, seed=1)
    if (difference := distance(first, second)) == 0:
        return
    drawn, line = next(iter(draws.seen.items()), ("a generator outside of torch", ""))
    deliberate = bool(draws.seen) and all(any(n in one for n in NOISE) for one in draws.seen)
    yield trial.finding(
        "note" if deliberate else "warning",
        "eval-nondeterministic",
        f"in eval mode the same inputs give different outputs: {drawn} is still drawn",
        of=None if line else trial.model,
        about=line,
        evidence=f"two answers differ by up to {difference:.3g}",
        way_out="pass `training=self.training` to F.dropout, or use nn.Dropout;"
        " if it is meant, declare `expect: {random_eval: true}`",
    )


def eval_changes_state(trial: Trial) -> Iterator[Finding]:
    """In eval mode a model learns nothing."""
    copy = trial.copy(training=False)
    before = {name: one.clone() for name, one in copy.model.state_dict().items()}
    with torch.no_grad():
        copy.answer(trial.inputs)
    for name, value in copy.model.state_dict().items():
        if name in before and value.is_floating_point() and gap(value, before[name]) > 0:
            yield trial.finding(
                "warning",
                "eval-updates-buffers",
                f"in eval mode a call of the model changes `{name}`",
                of=trial.model,
                about=name,
                evidence=f"by up to {gap(value, before[name]):.3g}",
                way_out="pass `training=self.training` to F.batch_norm,"
                " and update averages only `if self.training`",
            )
            return


def batch_mixing(trial: Trial) -> Iterator[Finding]:
    """What a model says of a row depends on that row alone."""
    if trial.expect.get("batch_coupled") or "eval-updates-buffers" in trial.found:
        return
    trial.needs(2)
    rows = trial.rows
    base = trial.copy(training=False).answer(trial.inputs)
    if not any(rows.has(one) for one in tensors(base)):
        raise Cannot(f"no output has one row for each of the {rows.count} rows of the batch")
    for kept in (rows.count - 1, 0):  # what runs over rows may run from either end
        others = rows.all().roll(1)
        others[kept] = kept
        if kept:
            others[0] = rows.count - 2 if rows.count > 2 else 0
        other = trial.copy(training=False).answer(rows.take(trial.inputs, others))
        effect = min(moved(trial, base, other, kept, flat) for flat in (False, True))
        if effect > trial.tolerance * scale(base):
            yield mixing(trial, base, kept, effect)
            return


def moved(trial: Trial, base: Any, other: Any, row: int, time_major: bool) -> float:
    """Return how far the outputs of one row moved; rows may be laid out time after time."""
    rows = trial.rows

    def of_row(tensor: Tensor) -> Tensor:
        if rows.flattened(tensor) and time_major:
            return torch.unflatten(tensor, 0, (-1, rows.count))[:, row]
        return rows.aligned(tensor)[row]

    pairs = zip(tensors(base), tensors(other), strict=True)
    return max((gap(of_row(a), of_row(b)) for a, b in pairs if rows.has(a)), default=0.0)


def mixing(trial: Trial, base: Any, row: int, effect: float) -> Finding:
    """Return the finding; where order matters, no symmetric use of the other rows explains it."""
    rows = trial.rows
    backwards = rows.all().flip(0)
    turned = trial.copy(training=False).answer(rows.take(trial.inputs, backwards))
    in_order = distance(rows.take(base, backwards), turned) > trial.tolerance * scale(base)
    certain = trial.expect.get("batch_coupled") is False or (trial.exchangeable and in_order)
    return trial.finding(
        "error" if certain else "warning",
        "batch-mixing",
        "what the model says of one row depends on the other rows of its batch"
        + (", and on their order" if in_order else ""),
        of=trial.model,
        evidence=f"row {row} moved by {effect:.3g} when only the other rows were exchanged",
        way_out="look for `view` where `transpose` is meant, `batch_first`, a softmax or a mean"
        " over dimension 0; if rows belong together, declare `expect: {batch_coupled: true}`",
    )


def batch_of_one(trial: Trial) -> Iterator[Finding]:
    """A row alone gets the answer that it gets among others."""
    if trial.expect.get("batch_coupled") or "batch-mixing" in trial.found:
        return
    trial.needs(2)
    rows, first = trial.rows, torch.tensor([0])
    base = trial.copy(training=False).answer(trial.inputs)
    inputs, target = rows.take(trial.inputs, first), rows.take(trial.target, first)
    copy = trial.copy(training=False)
    why, output = "", None
    try:
        output = copy.answer(inputs)
        copy.value(output, target)
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
    if output is not None:
        wanted = [tuple(one.shape) for one in tensors(rows.take(base, first))]
        got = [tuple(one.shape) for one in tensors(output)]
        if wanted != got and any(map(rows.has, tensors(base))):
            why = f"output {listed(got)} instead of {listed(wanted)}"
    if why:
        yield trial.finding(
            "warning",
            "batch-of-one",
            "a batch of one row is not answered like a row of a larger batch",
            of=trial.model,
            evidence=why,
            way_out="name the dimension: `squeeze(1)` instead of `squeeze()`, which also"
            " takes away the dimension of the batch when it is 1",
        )


def listed(shapes: list[tuple[int, ...]]) -> str:
    """Return shapes as words."""
    return ", ".join(map(str, shapes)) or "nothing"


def future_leak(trial: Trial) -> Iterator[Finding]:
    """Where the past alone may be used, what comes later changes nothing."""
    causal = trial.expect.get("causal")
    if causal is False or not (causal or predicts_next(trial)):
        return
    trial.needs(2)
    base = trial.copy(training=False).answer(trial.inputs)
    length = next((length_of(trial, one) for one in tensors(trial.inputs) if one.ndim > 1), 0)
    if not any(by_time(trial, one, length) is not None for one in tensors(base)):
        if causal:
            raise Cannot(f"no output has the {length} times of the inputs")
        return
    for cut in sorted({1, length // 2, length - 1} - {0}):
        later = changed(partial(replaced_after, trial, length, cut), trial.inputs)
        other = trial.copy(training=False).answer(later)
        effect = shift(trial, base, other, length, cut)
        if effect > trial.tolerance * scale(base):
            yield trial.finding(
                "error",
                "future-leak",
                "outputs depend on inputs that come later",
                of=trial.model,
                evidence=f"the first {cut} outputs moved by {effect:.3g}"
                " when only the inputs after them were exchanged",
                way_out="mask attention above the diagonal, pad convolutions on the left only,"
                " and use nothing that runs backwards in time",
            )
            return


def length_of(trial: Trial, tensor: Tensor) -> int:
    """Return how many times there are in a series."""
    return tensor.shape[1 - min(trial.rows.axis_of(tensor) or 0, 1)]


def by_time(trial: Trial, tensor: Tensor, length: int) -> Tensor | None:
    """Return a series as (time, row, ...); None for what is none of this length."""
    rows = trial.rows
    if rows.flattened(tensor) and len(tensor) == rows.count * length:
        return torch.unflatten(tensor, 0, (rows.count, length)).transpose(0, 1)
    axis = rows.axis_of(tensor)
    if axis is None or tensor.ndim < 2 or length_of(trial, tensor) != length:
        return None
    return tensor if axis else tensor.transpose(0, 1)


def shift(trial: Trial, base: Any, other: Any, length: int, cut: int) -> float:
    """Return how far the outputs before the cut have moved."""
    pairs = zip(tensors(base), tensors(other), strict=True)
    series = [(by_time(trial, a, length), by_time(trial, b, length)) for a, b in pairs]
    return max(gap(a[:cut], b[:cut]) for a, b in series if a is not None and b is not None)


def predicts_next(trial: Trial) -> bool:
    """Say whether the target is the input, one step on: then the answer lies in the future."""
    given, wanted = tensors(trial.inputs), tensors(trial.target)
    if len(given) != 1 or len(wanted) != 1 or given[0].is_floating_point():
        return False
    one, other = given[0], wanted[0]
    if one.ndim != 2 or one.shape != other.shape or one.shape[1] < 3:
        return False
    return bool((one[:, 1:] == other[:, :-1]).all()) and bool((one != other).any())


def replaced_after(trial: Trial, length: int, cut: int, tensor: Tensor) -> Tensor:
    """Return a series whose rows have exchanged all that comes after the cut."""
    if by_time(trial, tensor, length) is None or trial.rows.flattened(tensor):
        return tensor
    time = 1 - min(trial.rows.axis_of(tensor) or 0, 1)
    other = trial.rows.take(tensor, trial.rows.all().roll(1))
    parts = tensor.narrow(time, 0, cut), other.narrow(time, cut, length - cut)
    return torch.cat(parts, time)


def input_ignored(trial: Trial) -> Iterator[Finding]:
    """Every input has a say in the output."""
    if trial.found & {"batch-mixing", "eval-updates-buffers"}:
        return
    trial.needs(2)
    given = [(n, one) for n, one in enumerate(tensors(trial.inputs)) if trial.rows.has(one)]
    whole = [number for number, _ in given if exchanged(trial, number) is False]
    if whole and len(whole) < len(given):
        yield unheard(trial, whole[0], "the whole input", "")
        return
    if whole:
        return  # the output is a constant, which training will not change
    for number, tensor in given:
        for axis in range(1, tensor.ndim if trial.rows.axis_of(tensor) == 0 else 0):
            dead, size = ignored(trial, number, axis), tensor.shape[axis]
            last = 1 if tensor.ndim == 4 else tensor.ndim - 1
            features = axis == last and tensor.is_floating_point()
            if dead and (features or len(dead) >= max(2, size / 2)):
                what = f"{len(dead)} of {size} {'features' if features else 'places'} of the input"
                yield unheard(trial, number, what, f", dimension {axis}: {spans(dead)}")
                return


def unheard(trial: Trial, number: int, what: str, where: str) -> Finding:
    """Return the finding that an input has no say."""
    return trial.finding(
        "warning",
        "input-ignored",
        f"{what} changes nothing in the output",
        of=trial.model,
        about=f"input {number + 1}{where}",
        evidence=f"shape {tuple(tensors(trial.inputs)[number].shape)}; exchanged between rows,"
        " it moved no output",
        way_out="look at the slices and indices with which the model takes its input apart",
    )


def ignored(trial: Trial, number: int, axis: int) -> list[int]:
    """Return the places along an axis that no output depends on, as far as can be told."""
    size = tensors(trial.inputs)[number].shape[axis]
    if size < 2 or size > 4096:
        return []
    silent = without_gradient(trial, number, axis)
    if silent is None:
        silent = sorted({round(i * (size - 1) / 31) for i in range(32)}) if size > 32 else None
    candidates = list(range(size)) if silent is None else silent
    if not candidates:
        return []
    if len(candidates) > 64:
        return candidates if exchanged(trial, number, (axis, candidates)) is False else []
    return [place for place in candidates if exchanged(trial, number, (axis, [place])) is False]


def stirred(trial: Trial) -> Any:
    """Return a copy in which no weight is zero by design, as those of a fresh adapter are."""
    copy = trial.copy(training=False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in copy.model.parameters():
            if parameter.is_floating_point() and not isinstance(
                parameter, nn.parameter.UninitializedParameter
            ):
                spread = float(parameter.abs().mean()) or 0.05
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(0.3 * spread * noise.to(parameter.device))
    return copy


def without_gradient(trial: Trial, number: int, axis: int) -> list[int] | None:
    """Return the places whose gradient is zero in all rows; None where gradients cannot tell."""
    given = tensors(trial.inputs)[number]
    if not given.is_floating_point():
        return None
    leaf = given.clone().requires_grad_()
    inputs = substituted(trial.inputs, number, leaf)
    copy = stirred(trial)
    torch.manual_seed(0)
    outputs = [one for one in tensors(copy.ask(copy.model, inputs)) if one.requires_grad]
    if not outputs:
        return None
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(one.shape, generator=generator).to(one) for one in outputs]
    [gradient] = torch.autograd.grad(outputs, [leaf], weights, allow_unused=True)
    if gradient is None:
        return None
    size = gradient.abs().movedim(axis, 0).flatten(1).amax(1)
    return [int(place) for place in (size == 0).nonzero().flatten()]


def substituted(inputs: Any, number: int, tensor: Tensor) -> Any:
    """Return the inputs with another tensor in place of one of them."""
    count = iter(range(len(tensors(inputs))))
    return changed(lambda one: tensor if next(count) == number else one, inputs)


def exchanged(
    trial: Trial, number: int, places: tuple[int, list[int]] | None = None
) -> bool | None:
    """Say whether the output moves when rows exchange an input, or the places along an axis of it.

    None if all rows are alike there, so that nobody can tell.
    """
    given = tensors(trial.inputs)[number]
    other = trial.rows.take(given, trial.rows.all().roll(1))
    if places:
        index = torch.tensor(places[1], device=given.device)
        other = given.clone().index_copy_(places[0], index, other.index_select(places[0], index))
    if torch.equal(other, given):
        return None
    copy = stirred(trial)
    with torch.no_grad():
        base = copy.answer(trial.inputs)
        moved = copy.answer(substituted(trial.inputs, number, other))
    return distance(base, moved) > trial.tolerance * 1e-3 * scale(base)


def spans(places: list[int]) -> str:
    """Return numbers as spans: 0-4, 7."""
    found: list[list[int]] = []
    for place in places:
        if found and place == found[-1][1] + 1:
            found[-1][1] = place
        else:
            found.append([place, place])
    return ", ".join(f"{first}-{last}" if last > first else f"{first}" for first, last in found)
