"""Senses: torch's own process-wide hooks, turned into the events that checks look at.

Where torch has no hook, a function is wrapped while somebody watches: `torch.autograd.backward`
(every `Tensor.backward` ends there), `Optimizer.zero_grad`, `clip_grad_norm_`, `GradScaler`, the
schedulers, iteration over a `DataLoader`, and what keeps and brings back states. Nothing is
changed in what they compute, and `close` puts everything back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.overrides import TorchFunctionMode, _get_current_function_mode
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from nnhooks.watching.graph import Graph
from nnhooks.watching.watch import Watch

GLANCES = 8  # forward passes without gradients whose functions are told whatever the step


class Senses:
    """Everything that has to be hooked for one watch, and put back after it."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.inside = False  # of a model that has been called
        self.stepping = 0  # of optimizers that step inside one another's step
        self.undo = ExitStack()
        self.functions = Functions(watch)
        self.loaders: WeakKeyDictionary[Any, DataLoader[Any]] = WeakKeyDictionary()

    def open(self) -> None:
        """Begin to sense."""
        self._hook(register_optimizer_step_pre_hook(self._before_step))
        self._hook(register_optimizer_step_post_hook(self._after_step))
        self._listen_to_calls()
        self._wrap(torch.autograd, "backward", self._backward)
        self._wrap(Optimizer, "__init__", self._built)
        self._wrap(Optimizer, "zero_grad", self._zeroed)
        for name in ("clip_grad_norm_", "clip_grad_value_"):
            self._wrap(nn.utils, name, self._clipped)
            self._wrap(nn.utils.clip_grad, name, self._clipped)
        self._wrap(torch.amp.GradScaler, "scale", self._scaled)
        self._wrap(torch.amp.GradScaler, "unscale_", self._unscaled)
        for kind in vars(lr_scheduler).values():
            if isinstance(kind, type) and issubclass(kind, LRScheduler) and "step" in vars(kind):
                self._wrap(kind, "step", self._scheduled)
        self._wrap(DataLoader, "__iter__", self._iterated)
        self._wrap(_BaseDataLoaderIter, "__next__", self._fetched)
        self._wrap(nn.Module, "state_dict", self._stated)
        self._wrap(nn.Module, "load_state_dict", self._loaded)
        self._wrap(torch, "save", self._saved)

    def close(self) -> None:
        """Put everything back."""
        self.functions.leave()
        self.undo.close()

    def _hook(self, handle: Any) -> None:
        self.undo.callback(handle.remove)

    def _wrap(self, home: Any, name: str, around: Callable[..., Any]) -> None:
        """Let a function be called through `around(function, *arguments)` until closing."""
        original = getattr(home, name)
        inherited = isinstance(home, type) and name not in vars(home)

        @wraps(original)
        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            return around(original, *arguments, **keywords)

        setattr(home, name, wrapped)
        self.undo.callback(
            delattr if inherited else setattr, home, name, *([original] * (not inherited))
        )

    # Modules

    def _listen_to_calls(self) -> None:
        """Wrap the call of modules: a module that no other calls is a model.

        No hook of torch's is kept for that: while there is one, each module pays for it.
        """
        call = nn.Module.__call__

        def called(module: nn.Module, *arguments: Any, **keywords: Any) -> Any:
            if self.inside or in_transform():
                return call(module, *arguments, **keywords)
            self.inside = True
            try:
                self._before_model(module, arguments)
                output = call(module, *arguments, **keywords)
                self._after_model(module, arguments, output)
                return output
            finally:
                self.inside = False

        nn.Module.__call__ = called  # type: ignore[method-assign]
        self.undo.callback(setattr, nn.Module, "__call__", call)
        self.modules: Any = None
        self.undo.callback(self._leave_modules)
        self._follow()

    def _follow(self) -> None:
        """Hear of each module while the watch is inspecting, and only then."""
        self.functions.follow()
        if not self.watch.inspecting:
            self._leave_modules()
        elif self.modules is None and self.watch.wants("after_module"):
            self.modules = register_module_forward_hook(self._after_module)

    def _leave_modules(self) -> None:
        if self.modules is not None:
            self.modules.remove()
            self.modules = None

    def _before_model(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.watch.saw_model(module)
        if not torch.is_grad_enabled():
            self.functions.glance()
        self.watch.tell("before_forward", module, inputs)

    def _after_module(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self.watch.inspecting and not in_transform():
            self.watch.tell("after_module", module, inputs, output)

    def _after_model(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if self.functions.on:
            self.watch.origins.answered(output)
        self.watch.tell("after_forward", module, inputs, output)

    # Gradients

    def _backward(self, function: Any, tensors: Any, *arguments: Any, **keywords: Any) -> Any:
        losses = [tensors] if isinstance(tensors, Tensor) else list(tensors)
        self.watch.graph = Graph(losses)
        self.watch.tell("before_backward", losses)
        self.watch.graph = None
        result = function(tensors, *arguments, **keywords)
        self.watch.tell("after_backward", losses)
        return result

    def _zeroed(
        self, function: Any, optimizer: Optimizer, *arguments: Any, **keywords: Any
    ) -> None:
        function(optimizer, *arguments, **keywords)
        self.watch.tell("after_zero_grad", optimizer)

    def _clipped(
        self, function: Any, parameters: Any, limit: float, *arguments: Any, **keywords: Any
    ) -> Any:
        parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        norm = function(parameters, limit, *arguments, **keywords)
        self.watch.tell("after_clip", parameters, float(limit), norm)
        return norm

    def _scaled(self, function: Any, scaler: Any, outputs: Any) -> Any:
        result = function(scaler, outputs)
        self.watch.tell("after_scale", scaler, outputs)
        return result

    def _unscaled(self, function: Any, scaler: Any, optimizer: Optimizer) -> Any:
        result = function(scaler, optimizer)
        self.watch.tell("after_unscale", scaler, optimizer)
        return result

    # Data and states

    def _iterated(self, function: Any, loader: DataLoader[Any]) -> Any:
        iterator = function(loader)
        self.loaders[iterator] = loader
        self.watch.tell("on_loader", loader)
        return iterator

    def _fetched(self, function: Any, iterator: Any) -> Any:
        loader = self.loaders.get(iterator)
        try:
            batch = function(iterator)
        except StopIteration:
            self.watch.tell("on_exhausted", loader)
            raise
        if loader is not None:
            self.watch.tell("on_fetched", loader, batch)
        return batch

    def _stated(self, function: Any, module: nn.Module, *arguments: Any, **keywords: Any) -> Any:
        state = function(module, *arguments, **keywords)
        if not arguments and keywords.get("destination") is None:  # else it is part of another's
            self.watch.tell("after_state_dict", module, state)
        return state

    def _loaded(
        self, function: Any, module: nn.Module, state: Any, *arguments: Any, **keywords: Any
    ) -> Any:
        report = function(module, state, *arguments, **keywords)
        self.watch.tell("after_load", module, state, report)
        return report

    def _saved(self, function: Any, content: Any, *arguments: Any, **keywords: Any) -> None:
        function(content, *arguments, **keywords)
        self.watch.tell("after_save", content)

    # Optimizers

    def _built(self, function: Any, optimizer: Optimizer, *arguments: Any, **keywords: Any) -> None:
        function(optimizer, *arguments, **keywords)
        self.watch.saw_optimizer(optimizer)
        self._follow()

    def _before_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        self.stepping += 1
        self.watch.saw_optimizer(optimizer)
        if self.stepping == 1:
            self.watch.tell("before_step", optimizer)

    def _after_step(self, optimizer: Optimizer, arguments: Any, keywords: Any) -> None:
        self.stepping -= 1
        if self.stepping == 0:
            self.watch.tell("after_step", optimizer)
            self.watch.saw_step(optimizer)
            self._follow()

    def _scheduled(self, function: Any, scheduler: Any, *arguments: Any, **keywords: Any) -> None:
        function(scheduler, *arguments, **keywords)
        self.watch.tell("after_schedule", scheduler)


def in_transform() -> bool:
    """Say whether vmap, grad and the like run, whose tensors cannot be looked into."""
    return torch._C._functorch.peek_interpreter_stack() is not None


class Functions(TorchFunctionMode):
    """Tells of every torch function while the watch is inspecting; costs nothing otherwise."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch
        self.on = False
        self.glances = GLANCES
        self.glancing = False

    def __enter__(self) -> Functions:
        self.on = True
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __torch_function__(
        self,
        function: Any,
        types: Any,
        arguments: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*arguments, **(keywords or {}))
        if (self.watch.inspecting or self.glancing) and not in_transform():
            self.watch.saw_function(function, arguments, keywords or {}, result)
        return result

    def glance(self) -> None:
        """Be there in the first evaluations too, until the next step."""
        if self.glances and self.watch.wants("after_function"):
            self.glances -= 1
            self.glancing = True
            if not self.on and _get_current_function_mode() is None:
                self.__enter__()

    def follow(self) -> None:
        """Be there while the watch is inspecting, and only then."""
        self.glancing = False
        if self.watch.inspecting and not self.on and self.watch.wants("after_function"):
            self.__enter__()
        elif not self.watch.inspecting:
            self.watch.origins.forget()
            self.leave()

    def leave(self) -> None:
        """Go, unless somebody else's mode has been entered since: then wait."""
        if self.on and _get_current_function_mode() is self:
            self.on = False
            self.__exit__(None, None, None)
