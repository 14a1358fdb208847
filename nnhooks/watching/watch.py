"""A watch: what is known of a loop, the checks that look at it, and what they have found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from time import perf_counter
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks.findings import Finding, Level, verdict
from nnhooks.watching.check import Check
from nnhooks.watching.events import EVENTS, Events
from nnhooks.watching.graph import Graph
from nnhooks.watching.origins import Origins

FIRST = 5  # steps of each optimizer that are inspected
EVERY = 50  # and one of so many after that, or fewer where that would cost too much


class Watch:
    """Looks at whatever PyTorch does inside its `with` block; see `nnhooks.watch`."""

    def __init__(
        self,
        models: Iterable[nn.Module],
        optimizers: Iterable[Optimizer],
        checks: Iterable[Check],
        *,
        facts: Mapping[str, Any],
        overhead: float = 0.01,
        tell: Callable[[Finding], None] | None = None,
    ) -> None:
        self.models = list(models)
        self.optimizers = list(optimizers)
        self.facts = dict(facts)  # data, batch_size, shuffle, epochs, accumulate, expect, ...
        self.checks = list(checks)
        self.findings: list[Finding] = []
        self.graph: Graph | None = None
        self.origins = Origins()  # of tensors, by the functions that made them
        self.phase = ""
        self.epoch = 1
        self.steps: dict[Optimizer, int] = {}
        self.inspecting = True
        self._every, self._overhead, self._spent = EVERY, overhead, 0.0
        self._step_began = perf_counter()
        self._tell_others = tell
        self._names: dict[int, str] = {}
        self._busy = False
        self._listeners: dict[str, list[tuple[Check, Callable[..., None]]]] = {}
        for check in self.checks:
            check.watch = self
        self._refresh()

    # What the loop may tell

    def train(self) -> None:
        """Say that training goes on from here."""
        self._enter("train")

    def evaluate(self) -> None:
        """Say that what follows is evaluation."""
        self._enter("evaluate")

    def batch(self, inputs: Any, target: Any = None) -> None:
        """Show a batch before it is used."""
        self.tell("on_batch", inputs, target)

    def epoch_end(self) -> None:
        """Say that every batch has been used once."""
        self.tell("on_epoch_end")
        self.epoch += 1

    def metric(self, name: str, value: Any, output: Any = None, target: Any = None) -> None:
        """Show a metric, and what it was measured on."""
        self.tell("on_metric", name, float(value), output, target)

    def saved(self, checkpoint: Any) -> None:
        """Show what is kept as a checkpoint."""
        self.tell("on_saved", checkpoint)

    def loaded(self, report: Any) -> None:
        """Show what `load_state_dict` returned."""
        self.tell("on_loaded", report)

    def scheduler(self, scheduler: Any) -> None:
        """Show a learning rate scheduler that was built before watching began."""
        self.facts.setdefault("schedulers", []).append(scheduler)

    # What checks ask

    @property
    def step(self) -> int:
        """The number of the step that runs; the first is 1."""
        return max(self.steps.values(), default=0) + 1

    @property
    def expect(self) -> Mapping[str, Any]:
        """What the recipe says should be so."""
        return self.facts.get("expect") or {}

    def name(self, tensor: Tensor) -> str:
        """Return the name of a parameter or buffer, or its shape if it belongs to no model."""
        if id(tensor) not in self._names:
            self._names = {
                id(one): name
                for model in self.models
                for name, one in [*model.named_parameters(), *model.named_buffers()]
            }
        return self._names.get(id(tensor), f"a tensor {tuple(tensor.shape)}")

    def report(self, finding: Finding) -> None:
        """Keep a finding, and tell whoever listens."""
        self.findings.append(finding)
        if self._tell_others:
            self._tell_others(finding)

    @property
    def verdict(self) -> Level:
        """The worst level found."""
        return verdict(self.findings)

    # What the senses tell

    def tell(self, event: str, *arguments: Any) -> None:
        """Let every check look at a moment; what one of them does is not looked at by others."""
        listeners = self._listeners[event]
        if not listeners or self._busy:
            return
        began, self._busy = perf_counter(), True
        try:
            for check, listener in tuple(listeners):
                try:
                    listener(*arguments)
                except Exception as error:
                    self._give_up(check, event, error)
        finally:
            self._busy = False
            self._spent += perf_counter() - began

    def saw_function(
        self, function: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], result: Any
    ) -> None:
        """Learn what a function promises of its result, and tell of it."""
        if self._busy:  # it is a check that calls it
            return
        began = perf_counter()
        with suppress(Exception):  # then no more is known of the result than of any tensor
            self.origins.follow(function, arguments, keywords, result)
        self._spent += perf_counter() - began
        self.tell("after_function", function, arguments, keywords, result)

    def wants(self, event: str) -> bool:
        """Say whether any check looks at this moment."""
        return bool(self._listeners[event])

    def saw_optimizer(self, optimizer: Optimizer) -> None:
        """Take note of an optimizer, and tell of it the first time."""
        if optimizer not in self.optimizers:
            self.optimizers.append(optimizer)
        if optimizer not in self.steps:
            self.steps[optimizer] = 0
            self.inspecting = True
            self.tell("on_optimizer", optimizer)

    def saw_model(self, model: nn.Module) -> None:
        """Take note of a model that was called from outside of any module."""
        if not any(model is known for known in self.models):
            self.models.append(model)

    def saw_step(self, optimizer: Optimizer) -> None:
        """Count a step, and decide whether the next one is inspected."""
        self.steps[optimizer] = self.steps.get(optimizer, 0) + 1
        now = perf_counter()
        if self.inspecting and self.steps[optimizer] > FIRST:
            allowed = self._overhead * max(now - self._step_began - self._spent, 1e-6)
            self._every = max(EVERY, round(self._spent / allowed))
        self._step_began, self._spent = now, 0.0
        self.inspecting = any(
            count < FIRST or count % self._every == 0 for count in self.steps.values()
        )

    def begin(self) -> None:
        """Begin to look."""
        self.tell("on_start")
        for optimizer in list(self.optimizers):
            self.saw_optimizer(optimizer)

    def end(self) -> None:
        """Let every check draw its conclusions."""
        self.tell("on_end")

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self.tell("on_phase", phase)

    def _give_up(self, check: Check, event: str, error: Exception) -> None:
        """Keep a mistake of a check out of the loop: it is off, and says so."""
        self.checks.remove(check)
        self._refresh()
        name = type(check).__module__.rpartition(".")[2]
        message = f"stopped in {event}: {type(error).__name__}: {error}"
        self.report(Finding(check=name, level="not_run", message=message, step=self.step))

    def _refresh(self) -> None:
        self._listeners = {
            event: [
                (check, getattr(check, event))
                for check in self.checks
                if getattr(type(check), event) is not getattr(Events, event)
            ]
            for event in EVENTS
        }

    def __enter__(self) -> Watch:
        from nnhooks.watching.senses import Senses

        self._senses = Senses(self)
        self._senses.open()
        self.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()
        self._senses.close()

    def table(self) -> str:
        """Return the findings as lines of text, the worst first."""
        order: Sequence[Level] = ("error", "warning", "note", "not_run", "ok")
        worst_first = sorted(self.findings, key=lambda finding: order.index(finding.level))
        return "\n".join(
            f"{finding.level:<8}{finding.rule or finding.check:<28}{finding.message}"
            for finding in worst_first
        )
