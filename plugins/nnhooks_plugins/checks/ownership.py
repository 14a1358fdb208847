"""Ownership: which optimizer moves which parameter, and which parameter nobody moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from weakref import ref

from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks import Check

from ._weights import (
    held,
    is_power_of_two,
    listed,
    mark,
    owners,
    registered,
    same,
    sample,
    tensors,
)

SOON = 2  # steps after which a replaced parameter is told of
LATER = 8  # steps after which a parameter without an optimizer is
LEAST = 3  # of them, where the loop ends before that
REPEATS = 2  # times that two optimizers use the same gradient
LIVES = 3  # optimizers with moments, one after the other, over the same parameters
REMEMBERED = 8  # optimizers that have stepped

EXPLAINED = {
    "optimizer-orphans": """\
The optimizer holds tensors that no model uses any more, while the model trains others that are in
no optimizer: it was built before a layer was replaced, before the model was copied, or before
`load_state_dict(assign=True)` put new tensors in the place of the old. The loss may still fall,
as the rest of the model learns around what stands still.

Wrong:
    optimizer = torch.optim.Adam(model.parameters())
    model.head = nn.Linear(512, 10)          # these parameters are in no optimizer

Right:
    model.head = nn.Linear(512, 10)
    optimizer = torch.optim.Adam(model.parameters())
""",
    "param-not-in-optimizer": """\
A parameter requires gradients and the loss reaches it, but no optimizer holds it and nothing moves
it. If it is meant to stand still, say so: `requires_grad_(False)` also saves its gradient. A note
if all such parameters come before those that are trained (a linear probe looks like that).

Wrong:
    optimizer = torch.optim.Adam(model.encoder.parameters())
    loss(model.decoder(model.encoder(x)), x).backward()

Right:
    optimizer = torch.optim.Adam([*model.encoder.parameters(), *model.decoder.parameters()])
""",
    "param-in-two-optimizers": """\
Two optimizers step with the same gradient of the same parameter: it moves twice for one backward
pass, and each optimizer keeps moments of a path that the other has changed.

Wrong:
    everything = torch.optim.SGD(model.parameters(), lr=0.1)
    head = torch.optim.SGD(model.head.parameters(), lr=0.01)

Right:
    optimizer = torch.optim.SGD([
        {"params": model.body.parameters(), "lr": 0.1},
        {"params": model.head.parameters(), "lr": 0.01},
    ])
""",
    "optimizer-recreated": """\
An optimizer that keeps moments (Adam, SGD with momentum) is built anew again and again for
parameters that go on from where they are: its moments and its bias correction start over each
time. A new optimizer for new or reset parameters is no mistake.

Wrong:
    for epoch in range(epochs):
        optimizer = torch.optim.Adam(model.parameters())
        train(model, optimizer)

Right:
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in range(epochs):
        train(model, optimizer)         # change the learning rate by a scheduler
""",
}


@dataclass
class Left:
    """A parameter that gets gradients, but is in no optimizer."""

    tensor: Tensor
    sample: Tensor
    step: int


@dataclass
class Stepped:
    """An optimizer that has stepped."""

    optimizer: Optimizer
    identities: frozenset[int]
    life: int  # which of those that followed one another it is
    anchor: Tensor  # one of its tensors
    mark: tuple[int, int] | None = None  # of that after the last step
    used: dict[int, tuple[Any, int]] = field(default_factory=dict)  # gradients, and their version


class Ownership(Check):
    """Finds parameters of no optimizer, of two, and optimizers of no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[nn.Module] = []
        self.backwards = 0
        self.reached: set[int] = set()  # tensors of optimizers that some loss depends on
        self.left: dict[int, Left] = {}
        self.calls: dict[int, int] = {}  # modules in the order in which they answer
        self.seen_at: dict[Optimizer, int] = {}
        self.stepped: list[Stepped] = []
        self.doubles = 0

    def on_start(self) -> None:
        self.told = list(self.watch.models)

    # Parameters that no optimizer holds

    def after_module(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if module._parameters:
            self.calls.setdefault(id(module), len(self.calls))

    def before_backward(self, losses: Any) -> None:
        self.backwards += 1
        graph = self.watch.graph
        if graph is None or not (self.watch.inspecting or is_power_of_two(self.backwards)):
            return
        known, names = held(self.watch), registered(self.watch)
        for identity, leaf in graph.leaves.items():
            if identity in known:
                self.reached.add(identity)
                self.left.pop(identity, None)
            elif identity in names and identity not in self.left:
                self.left[identity] = Left(leaf, sample(leaf), self.watch.step)

    def after_step(self, optimizer: Optimizer) -> None:
        self._remember(optimizer)
        if self.left:
            since = self.watch.step - min(left.step for left in self.left.values())
            if since in (SOON, LATER):
                self._judge(SOON, LATER)

    def on_end(self) -> None:
        self._judge(1, LEAST)

    def _judge(self, soon: int, later: int) -> None:
        """Tell of parameters that have stood still for so many steps without an optimizer."""
        known, names = held(self.watch), registered(self.watch)
        step = self.watch.step
        still = {
            identity: left
            for identity, left in self.left.items()
            if identity in names
            and identity not in known
            and step - left.step >= soon
            and same(left.sample, sample(left.tensor))
        }
        orphans = [
            one
            for identity, one in known.items()
            if identity not in self.reached and identity not in names and one.grad is None
        ]
        if still and orphans and self._replaced(still, orphans, known):
            self._tell_orphans(still, orphans)
        elif self.reached and (
            still := {key: left for key, left in still.items() if step - left.step >= later}
        ):
            self._tell_left(still, known)

    def _replaced(
        self, still: dict[int, Left], orphans: list[Tensor], known: dict[int, Tensor]
    ) -> bool:
        """Say whether what stands still stands where the orphans stood."""
        shapes = {orphan.shape for orphan in orphans}
        if any(left.tensor.shape in shapes for left in still.values()):
            return True
        return any(
            any(id(one) in still for one in model.parameters())
            and any(id(one) in known for one in model.parameters())
            for model in self.watch.models
        )

    def _tell_orphans(self, still: dict[int, Left], orphans: list[Tensor]) -> None:
        self.found.add("param-not-in-optimizer")  # the same cause
        names = [self.watch.name(left.tensor) for left in still.values()]
        self.find(
            "error",
            "optimizer-orphans",
            f"the optimizer holds {len(orphans)} tensors that no model has, and the model trains "
            f"{len(names)} that no optimizer holds: {listed(names)}",
            about=names[0],
            evidence=f"{len(names)} parameters unchanged since step "
            f"{min(left.step for left in still.values())}",
            way_out="build the optimizer after the last change to the model's parameters",
        )

    def _tell_left(self, still: dict[int, Left], known: dict[int, Tensor]) -> None:
        forgotten = {key: left for key, left in still.items() if not self._aside(key, known)}
        names = [self.watch.name(left.tensor) for left in (forgotten or still).values()]
        first = not forgotten or self._all_first(forgotten, known)
        self.find(
            "note" if first else "warning",
            "param-not-in-optimizer",
            f"{listed(names)}: the loss reaches them, but no optimizer holds them",
            about=names[0],
            evidence=f"{len(names)} parameters unchanged since step "
            f"{min(left.step for left in still.values())}",
            way_out="give them to the optimizer, or say requires_grad_(False) if they are to stay",
        )

    def _aside(self, identity: int, known: dict[int, Tensor]) -> bool:
        """Say whether a parameter belongs to a whole model that only judges or leads others."""
        for model in self.watch.models:
            own = list(model.parameters())
            if not any(id(one) == identity for one in own):
                continue
            if any(model is told for told in self.told) or any(id(one) in known for one in own):
                return False
            shapes = [one.shape for one in own]
            return not model.training or any(
                other is not model
                and [one.shape for one in other.parameters()] == shapes
                and all(id(one) in known for one in other.parameters())
                for other in self.watch.models
            )
        return False

    def _all_first(self, still: dict[int, Left], known: dict[int, Tensor]) -> bool:
        """Say whether these parameters are used before all that are trained: a fixed backbone."""
        home = owners(self.watch.models)
        trained = [home[one] for one in known.keys() & self.reached if one in home]
        around = {id(home[one]) for one in still if self._holds(home[one], trained)}
        place = self.calls.get
        before = [place(id(home[one])) for one in still if id(home[one]) not in around]
        after = [place(id(module)) for module in trained]
        if not before or None in before or None in after:
            return False
        return max(one or 0 for one in before) < min((one or 0 for one in after), default=0)

    def _holds(self, module: nn.Module, others: list[nn.Module]) -> bool:
        within = {id(one) for one in module.modules()} - {id(module)}
        return any(id(other) in within for other in others)

    # Optimizers of the same parameters

    def on_optimizer(self, optimizer: Optimizer) -> None:
        self.seen_at[optimizer] = self.backwards

    def before_step(self, optimizer: Optimizer) -> None:
        if not any(known.optimizer is optimizer for known in self.stepped):
            self._first_step(optimizer)
        if self.watch.inspecting:
            self._look_for_double_use(optimizer)

    def _first_step(self, optimizer: Optimizer) -> None:
        identities = frozenset(map(id, tensors(optimizer)))
        life = 1
        for earlier in reversed(self.stepped):
            if earlier.identities == identities:
                if self._follows(optimizer, earlier):
                    life = earlier.life + 1
                break
        self.stepped = [
            *self.stepped[1 - REMEMBERED :],
            Stepped(optimizer, identities, life, next(tensors(optimizer))),
        ]
        if life >= LIVES:
            kind = type(optimizer).__name__
            self.find(
                "warning",
                "optimizer-recreated",
                f"this is the {life}th {kind} in a row over the same parameters: the moments of "
                "those before are lost",
                evidence=f"{len(identities)} parameters go on, {kind}.state starts empty",
                way_out=f"build {kind} once, before the loop",
            )

    def _follows(self, optimizer: Optimizer, earlier: Stepped) -> bool:
        """Say whether an optimizer was built to go on where an earlier one with moments was."""
        built_since = self.backwards > self.seen_at.get(optimizer, self.backwards)
        moments = any(earlier.optimizer.state.values()) and not any(optimizer.state.values())
        return built_since and moments and earlier.mark == mark(earlier.anchor)

    def _remember(self, optimizer: Optimizer) -> None:
        for known in self.stepped:
            if known.optimizer is optimizer:
                known.mark = mark(known.anchor)
                known.used = {}
                if self.watch.inspecting:
                    known.used = {
                        id(one): (ref(one.grad), one.grad._version)
                        for one in tensors(optimizer)
                        if one.grad is not None
                    }

    def _look_for_double_use(self, optimizer: Optimizer) -> None:
        for other in self.stepped:
            if other.optimizer is optimizer or wraps(optimizer, other.optimizer):
                continue
            twice = [
                one
                for one in tensors(optimizer)
                if id(one) in other.used and is_same(one.grad, *other.used[id(one)])
            ]
            if twice:
                self.doubles += 1
                if self.doubles >= REPEATS:
                    self._tell_doubles(twice)
                return

    def _tell_doubles(self, twice: list[Tensor]) -> None:
        names = [self.watch.name(one) for one in twice]
        self.find(
            "error",
            "param-in-two-optimizers",
            f"two optimizers step with the same gradient of {listed(names)}",
            about=names[0],
            evidence=f"{len(names)} parameters, {self.doubles} times",
            way_out="give each parameter to one optimizer; use parameter groups for several rates",
        )


def is_same(gradient: Tensor | None, then: Any, version: int) -> bool:
    """Say whether nothing has been added to a gradient, nor taken, since it was used."""
    return gradient is not None and then() is gradient and gradient._version == version


def wraps(one: Optimizer, other: Optimizer) -> bool:
    """Say whether one of two optimizers is made of the other."""
    return any(value is other for value in vars(one).values()) or any(
        value is one for value in vars(other).values()
    )
