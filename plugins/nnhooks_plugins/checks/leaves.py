"""Leaves: what the loss depends on in the end, and whether anything of it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import ref

from torch import Tensor, nn
from torch.optim import Optimizer

from nnhooks import Check
from nnhooks.watching.graph import Graph

from ._weights import contents, held, is_power_of_two, listed, registered, same, sample

LOOKS = 3  # backward passes that show whether a tensor stays
STEPS = 2  # optimizer steps that could have moved it

EXPLAINED = {
    "param-unregistered": """\
The loss depends on an `nn.Parameter` that is in no module's `parameters()`, so no optimizer holds
it, `.to(device)` does not move it, and `state_dict` does not save it. Modules in a plain list or
dict are not registered; nor is a parameter that was changed by `.to()` or an operation.

Wrong:
    self.layers = [nn.Linear(8, 8) for _ in range(3)]
    self.scale = nn.Parameter(torch.ones(8)).to(torch.float64)

Right:
    self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
    self.scale = nn.Parameter(torch.ones(8, dtype=torch.float64))
""",
    "params-recreated": """\
The loss depends on parameters that are new in every step: a layer or an `nn.Parameter` is built in
`forward`. It starts from random numbers each time and is never trained.

Wrong:
    def forward(self, x):
        return nn.Linear(32, 10)(x)

Right:
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(x)
""",
    "leaf-not-trained": """\
A plain tensor requires gradients and gets them, step after step, but it is in no optimizer and
nothing moves it. As an attribute of a module it has to be an `nn.Parameter` to be found by
`parameters()`.

Wrong:
    self.scale = torch.ones(10, requires_grad=True)

Right:
    self.scale = nn.Parameter(torch.ones(10))
""",
    "loss-is-leaf": """\
The loss has no graph behind it: it was made from a number, so backward ends where it begins and
no parameter gets a gradient. `requires_grad=True` only silences the error that would say so.

Wrong:
    loss = torch.tensor(criterion(model(x), y).item(), requires_grad=True)

Right:
    loss = criterion(model(x), y)
""",
    "loss-cut-off": """\
The loss depends on no parameter: the output of the model was copied (`torch.tensor`, numpy,
`.detach().requires_grad_()`) on its way to the loss. Backward ends at the copy.

Wrong:
    output = torch.tensor(model(x).detach().numpy(), requires_grad=True)
    criterion(output, y).backward()

Right:
    criterion(model(x), y).backward()
""",
}


@dataclass
class Seen:
    """A tensor at the end of a graph, that neither a model nor an optimizer has."""

    tensor: Any  # a weak reference
    sample: Tensor
    step: int
    looks: int = 1


class Leaves(Check):
    """Finds leaves that nobody trains, and losses without leaves that anybody could."""

    def __init__(self) -> None:
        super().__init__()
        self.backwards = 0
        self.seen: dict[int, Seen] = {}
        self.names: dict[tuple[int, str], Any] = {}  # parameters of models, weakly
        self.fresh = self.replaced = 0  # looks with nothing but new ones
        self.inputs: set[int] = set()  # leaves behind what models were given
        self.strangers: dict[int, str] = {}  # parameters of modules of no model
        self.evaluated: set[int] = set()  # those of modules in eval mode
        self.known: set[int] = set()  # modules of known models
        self.cut_off: bool | None = None  # whether all losses since the last step were
        self.cut_off_steps = 0

    def before_forward(self, model: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not self.watch.inspecting:
            return
        self.known = {id(one) for known in self.watch.models for one in known.modules()}
        given = [one for one in contents(inputs) if one.requires_grad]
        if given:
            self.inputs |= {*map(id, given), *Graph(given).leaves}

    def after_module(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if module._parameters and id(module) not in self.known:
            for one in module.parameters(recurse=False):
                self.strangers[id(one)] = type(module).__name__
                if not module.training:
                    self.evaluated.add(id(one))

    def before_backward(self, losses: Any) -> None:
        self.backwards += 1
        if all(loss.grad_fn is None for loss in losses):
            self._look_at_bare(losses)
        elif self.watch.graph and (self.watch.inspecting or is_power_of_two(self.backwards)):
            self._look(self.watch.graph.leaves)
        self.inputs.clear()
        self.strangers.clear()
        self.evaluated.clear()

    def before_step(self, optimizer: Optimizer) -> None:
        if self.cut_off:
            self.cut_off_steps += 1
            if self.cut_off_steps >= STEPS:
                self.find(
                    "error",
                    "loss-cut-off",
                    "the loss depends on no parameter: what the model gave was copied on the way",
                    evidence=f"{self.cut_off_steps} steps after a backward that reached none",
                    way_out="compute the loss from the model's own output: no torch.tensor, numpy, "
                    "detach",
                )
        elif self.cut_off is False:
            self.cut_off_steps = 0
        self.cut_off = None

    # What is reached

    def _look_at_bare(self, losses: Any) -> None:
        mine = held(self.watch).keys() | registered(self.watch).keys()
        bare = [
            loss
            for loss in losses
            if loss.numel() == 1
            and not isinstance(loss, nn.Parameter)
            and id(loss) not in mine
            and id(loss) not in self.inputs
        ]
        if bare:
            self.find(
                "error",
                "loss-is-leaf",
                "the loss was made from a number: there is no graph behind it, and no gradient",
                evidence=f"grad_fn is None, requires_grad is {bare[0].requires_grad}",
                way_out="call backward on the loss itself, not on a copy of its value",
            )

    def _look(self, leaves: dict[int, Tensor]) -> None:
        optimized, names = held(self.watch), registered(self.watch)
        strays = {
            identity: leaf
            for identity, leaf in leaves.items()
            if identity not in optimized and identity not in names and identity not in self.inputs
        }
        reached = len(strays) < len(leaves) or any(
            isinstance(leaf, nn.Parameter) for leaf in leaves.values()
        )
        old = {identity for identity, leaf in strays.items() if self._note(identity, leaf)}
        if optimized and leaves:
            self.cut_off = self.cut_off is not False and not reached and not old
        self._judge_fresh(strays, old)
        self._judge_replaced(leaves, optimized)
        for identity in old:
            self._judge_old(strays[identity])

    def _note(self, identity: int, leaf: Tensor) -> bool:
        """Take note of a stray leaf; say whether it was there before."""
        known = self.seen.get(identity)
        if known is not None and known.tensor() is leaf:
            known.looks += 1
            return True
        self.seen[identity] = Seen(ref(leaf), sample(leaf), self.watch.step)
        return False

    def _judge_fresh(self, strays: dict[int, Tensor], old: set[int]) -> None:
        """Tell of parameters that are built anew in each forward."""
        new = [
            one for key, one in strays.items() if isinstance(one, nn.Parameter) and key not in old
        ]
        self.fresh = self.fresh + 1 if new else 0
        if self.fresh >= LOOKS + 1 and self.watch.step > STEPS:
            kind = next((self.strangers[id(one)] for one in new if id(one) in self.strangers), "")
            what = f"a {kind}" if kind else f"a parameter {tuple(new[0].shape)}"
            self._tell_recreated("error" if kind else "warning", what, len(new))

    def _judge_replaced(self, leaves: dict[int, Tensor], optimized: dict[int, Tensor]) -> None:
        """Tell of parameters of a model that are other tensors than before, time and again."""
        changed = []
        for number, model in enumerate(self.watch.models):
            for name, one in model.named_parameters():
                if id(one) in leaves and id(one) not in optimized:
                    before = self.names.get((number, name))
                    if before is not None and before() is not one:
                        changed.append(name)
                    self.names[number, name] = ref(one)
        self.replaced = self.replaced + 1 if changed else 0
        if self.replaced >= LOOKS - 1 and self.watch.step > STEPS:
            self._tell_recreated("error", listed(changed), len(changed))

    def _tell_recreated(self, level: Any, what: str, count: int) -> None:
        self.find(
            level,
            "params-recreated",
            f"{what} is built anew in every step, with new random weights",
            about=what,
            evidence=f"{count} parameters are other tensors than in the step before",
            way_out="build it once, in __init__, as an attribute of the module",
        )

    def _judge_old(self, leaf: Tensor) -> None:
        known = self.seen[id(leaf)]
        stayed = known.looks >= LOOKS and self.watch.step - known.step >= STEPS
        if not stayed or id(leaf) in self.evaluated or not same(known.sample, sample(leaf)):
            return
        if isinstance(leaf, nn.Parameter):
            self._tell_unregistered(leaf)
        else:
            self._tell_plain(leaf)

    def _tell_unregistered(self, leaf: Tensor) -> None:
        kind = self.strangers.get(id(leaf))
        what = f"a {kind} that is called in forward" if kind else f"an nn.Parameter {shape(leaf)}"
        self.find(
            "error",
            "param-unregistered",
            f"{what} is registered in no module: no optimizer holds it",
            about=what,
            evidence="the loss reaches it, and it has not moved since step "
            f"{self.seen[id(leaf)].step}",
            way_out="assign it to an attribute of the module, lists of modules as nn.ModuleList",
        )

    def _tell_plain(self, leaf: Tensor) -> None:
        name = self._attribute(leaf)
        self.find(
            "error" if name else "warning",
            "leaf-not-trained",
            f"{name or 'a tensor ' + shape(leaf)} requires gradients, but is no nn.Parameter: no "
            "optimizer holds it",
            about=name or shape(leaf),
            evidence="the loss reaches it, and it has not moved since step "
            f"{self.seen[id(leaf)].step}",
            way_out="make it an nn.Parameter, or give it to the optimizer",
        )

    def _attribute(self, leaf: Tensor) -> str:
        """Return the name under which a module keeps a plain tensor."""
        for model in self.watch.models:
            for path, module in model.named_modules():
                for name, value in vars(module).items():
                    if value is leaf or (
                        isinstance(value, list | tuple) and any(one is leaf for one in value)
                    ):
                        return f"{path}.{name}".lstrip(".")
        return ""


def shape(tensor: Tensor) -> str:
    """Return a shape to be read."""
    return "(" + ", ".join(map(str, tensor.shape)) + ")"
