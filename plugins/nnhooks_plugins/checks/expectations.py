"""Expectations: what the user says should be so, held against what is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks import Check, did_you_mean
from nnhooks_plugins.checks._batches import CLASS_LOSSES, first_tensor, loss_pair

ENTRIES = (
    "frozen",
    "train",
    "tied",
    "classes",
    "effective_lr",
    "accumulate",
    "shuffle",
    "batch_coupled",
    "causal",
)
SAMPLE = 512  # numbers of each parameter by which a move is seen


class Expectations(Check):
    """Holds a loop to what was said of it."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[str, tuple[Tensor, Tensor]] = {}  # the parameter, and how it was
        self.backwards = 0
        self.short = 0  # steps in a row with too few backward passes
        self.peak = 0.0  # of the learning rate
        self.labels: set[int] = set()

    def on_start(self) -> None:
        for entry in self.watch.expect:
            if entry not in ENTRIES:
                hint = did_you_mean(str(entry), ENTRIES)
                self._broken(str(entry), f"there is no such expectation{hint}", "")
        if self.watch.expect and self.watch.models:
            self._look_at_names()
            self._look_at_tied()

    def _look_at_names(self) -> None:
        parameters = self._parameters()
        for entry in ("frozen", "train"):
            for pattern in listed(self.watch.expect.get(entry)):
                names = [name for name in parameters if matches(name, pattern)]
                if not names:
                    hint = did_you_mean(pattern, parameters)
                    self._broken(entry, f"no parameter is called `{pattern}`{hint}", "")
                for name in names:
                    self.before[name] = parameters[name], sample(parameters[name])

    def _look_at_tied(self) -> None:
        parameters = self._parameters()
        for one, *others in self.watch.expect.get("tied") or ():
            for name in (one, *others):
                if name not in parameters:
                    hint = did_you_mean(str(name), parameters)
                    self._broken("tied", f"no parameter is called `{name}`{hint}", "")
                    break
                if parameters[name].data_ptr() != parameters[one].data_ptr():
                    self._broken(
                        "tied",
                        f"`{name}` and `{one}` are not one parameter",
                        "assign it: model.head.weight = model.embed.weight",
                        about=name,
                    )

    # Steps

    def after_backward(self, losses: Sequence[Tensor]) -> None:
        self.backwards += 1

    def before_step(self, optimizer: Optimizer) -> None:
        expected, passes = self.watch.expect.get("accumulate"), self.backwards
        self.backwards = 0
        rates = [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]
        self.peak = max([self.peak, *rates])
        if not expected or len(self.watch.optimizers) > 1 or not passes:
            return
        self.short = self.short + 1 if passes < expected else 0
        if passes > expected or self.short > 1:
            self._broken(
                "accumulate",
                f"a step is made of {passes} backward passes, not of {expected}",
                "call optimizer.step() after each so many batches",
            )

    def after_step(self, optimizer: Optimizer) -> None:
        limit = self.watch.expect.get("effective_lr")
        if limit and self.peak > float(limit) * (1 + 1e-6):
            self._wrong_rate(float(limit))
        if self.watch.inspecting and self.before:
            self._look_at_frozen()

    def on_epoch_end(self) -> None:
        self.short = 0

    def after_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        classes = self.watch.expect.get("classes")
        pair = loss_pair(function, arguments, keywords) if classes else None
        if pair is None or function not in CLASS_LOSSES or pair[0].dim() < 2:
            return
        prediction, target = pair
        if prediction.shape[1] != classes:
            self._broken(
                "classes",
                f"the model tells {prediction.shape[1]} classes apart, not {classes}",
                "give the last layer as many outputs as there are classes",
            )
        self._look_at_labels(target)

    def on_batch(self, inputs: Any, target: Any) -> None:
        target = first_tensor(target)
        if self.watch.expect.get("classes") and target is not None:
            self._look_at_labels(target)

    def _look_at_labels(self, target: Tensor) -> None:
        classes = self.watch.expect["classes"]
        if target.is_floating_point() or target.is_complex():
            return
        self.labels |= {label for label in target.unique().tolist() if label != -100}
        if self.labels and not 0 <= min(self.labels) <= max(self.labels) < classes:
            self._broken(
                "classes",
                f"there are labels from {min(self.labels)} to {max(self.labels)}, where "
                f"{classes} classes go from 0 to {classes - 1}",
                "number the classes from 0",
            )

    # The end

    def on_end(self) -> None:
        expect = self.watch.expect
        self._look_at_frozen()
        if any(self.watch.steps.values()):
            self._look_at_trained()
        limit = float(expect.get("effective_lr") or self.peak)
        if self.peak and abs(self.peak - limit) > 1e-6 * limit:
            self._wrong_rate(limit)
        if expect.get("tied") and self.watch.models:
            self._look_at_tied()
        probed = self.watch.facts.get("probed")
        for entry, loose in (("batch_coupled", True), ("causal", False)):
            if entry in expect and expect[entry] is not loose and not probed:
                self._not_looked_at(entry)

    def _not_looked_at(self, entry: str) -> None:
        self.find(
            "not_run",
            f"expect-{entry}",
            f"whether `{entry}: {self.watch.expect[entry]}` holds is seen by a probe only",
            way_out="run nnhooks check, or nnhooks.probe",
            place="",
        )

    def _look_at_frozen(self) -> None:
        frozen = listed(self.watch.expect.get("frozen"))
        for name, (parameter, before) in self.before.items():
            if any(matches(name, pattern) for pattern in frozen):
                now = sample(parameter)
                if not torch.equal(now.nan_to_num(), before.nan_to_num()):
                    self._broken(
                        "frozen",
                        f"`{name}` is to stay as it is, and has moved",
                        "set requires_grad=False, and leave it out of the optimizer",
                        about=name,
                        evidence=f"by up to {float((now - before).abs().max()):.3g}",
                    )

    def _look_at_trained(self) -> None:
        trained = listed(self.watch.expect.get("train"))
        for name, (parameter, before) in self.before.items():
            still = torch.equal(sample(parameter), before)
            if still and any(matches(name, pattern) for pattern in trained):
                self._broken(
                    "train",
                    f"`{name}` is to be trained, and has not moved",
                    "see that it needs gradients, is used in the loss, and is in the optimizer",
                    about=name,
                    evidence=f"not in {sum(self.watch.steps.values())} steps",
                )

    def _wrong_rate(self, limit: float) -> None:
        self._broken(
            "effective_lr",
            f"the learning rate reaches {self.peak:.6g}, not {limit:.6g}",
            "see the optimizer's lr and what the scheduler makes of it",
        )

    def _broken(
        self, entry: str, message: str, way_out: str, *, about: str = "", evidence: str = ""
    ) -> None:
        self.find(
            "error",
            f"expect-{entry}",
            f"expect.{entry}: {message}",
            about=about,
            evidence=evidence,
            way_out=way_out,
        )

    def _parameters(self) -> dict[str, nn.Parameter]:
        return {
            name: parameter
            for model in reversed(self.watch.models)
            for name, parameter in model.named_parameters(remove_duplicate=False)
        }


def listed(patterns: Any) -> list[str]:
    """Return patterns as a list, one alone too."""
    if patterns is None:
        return []
    return [patterns] if isinstance(patterns, str) else [str(one) for one in as_list(patterns)]


def as_list(content: Any) -> list[Any]:
    """Return the members of what can be iterated over."""
    return list(content) if isinstance(content, Iterable) else [content]


def matches(name: str, pattern: str) -> bool:
    """Say whether a pattern is this name, a module it is in, or matches it with wildcards."""
    return fnmatchcase(name, pattern) or name.startswith(pattern.rstrip(".") + ".")


def sample(parameter: Tensor) -> Tensor:
    """Return some numbers of a parameter, evenly spread, as they are now."""
    numbers = parameter.detach().reshape(-1)
    return numbers[:: max(1, len(numbers) // SAMPLE)].clone()


EXPLAINED: dict[str, str] = {
    "expect-frozen": """\
`expect` says parameters that must not move, and it is not so.

Wrong:

    expect={"frozen": ["backbone"]}  # and it requires gradients

Right:

    model.backbone.requires_grad_(False)
""",
    "expect-train": """\
`expect` says parameters that must move, and it is not so.

Wrong:

    expect={"train": "*"}  # SGD(model.head.parameters())

Right:

    SGD(model.parameters())
""",
    "expect-tied": """\
`expect` says parameters that must be one, and it is not so.

Wrong:

    model.head.weight = Parameter(model.embed.weight.clone())

Right:

    model.head.weight = model.embed.weight
""",
    "expect-classes": """\
`expect` says how many classes there are, and it is not so.

Wrong:

    nn.Linear(32, 11)  # of 10 classes

Right:

    nn.Linear(32, 10)
""",
    "expect-effective_lr": """\
`expect` says the highest learning rate that is reached, and it is not so.

Wrong:

    SGD(parameters, lr=0.1)  # 0.01 expected

Right:

    SGD(parameters, lr=0.01)
""",
    "expect-accumulate": """\
`expect` says how many backward passes make a step, and it is not so.

Wrong:

    if i % 2 == 0: optimizer.step()  # 4 expected

Right:

    if i % 4 == 0: optimizer.step()
""",
}
