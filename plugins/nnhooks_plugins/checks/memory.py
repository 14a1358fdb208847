"""Memory: graphs of earlier steps that are still alive, or still walked through."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from torch import Tensor, nn

from nnhooks import Check

from ._weights import contents

KEPT = 7  # graphs of as many earlier steps that are alive at once
MARK = "nnhooks-memory"
WALKS = (2, 4, 8, 16, 32, 64)  # backward passes whose graphs are counted
GROWTH = 2.5  # of the graph from the first to the last of three walks

EXPLAINED = {
    "graph-kept": """\
The graphs of many earlier steps are still in memory, because a tensor that belongs to each is kept
somewhere: a running sum of losses, a list of outputs. Memory grows with every step.

Wrong:
    total = total + loss                # a tensor: it holds the graph of every step
    outputs.append(model(x))

Right:
    total = total + loss.item()
    outputs.append(model(x).detach())
""",
    "graph-grows": """\
Backward goes through the graphs of all earlier steps again: something computed in one step is used
in the next without `detach`. Each step takes longer than the one before, and mixes old weights
with new ones.

Wrong:
    output, hidden = model(x, hidden)
    loss(output, y).backward(retain_graph=True)

Right:
    output, hidden = model(x, hidden.detach())
    loss(output, y).backward()
""",
}


class Mark:
    """Lives as long as the graph that it is tied to."""

    __slots__ = ("__weakref__",)


class Memory(Check):
    """Marks graphs, and counts the marks that live on."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: WeakSet[Mark] = WeakSet()
        self.outputs: WeakSet[Mark] = WeakSet()
        self.marked_loss = self.marked_output = 0
        self.backwards = 0
        self.sizes: list[tuple[int, bool]] = []  # of graphs; whether part of it was seen before

    def after_forward(self, model: nn.Module, inputs: Any, output: Any) -> None:
        step = self.watch.step
        if step == self.marked_output:
            return
        tensor = output if isinstance(output, Tensor) else next(contents(output), None)
        if tensor is not None and tensor.grad_fn is not None:
            self.marked_output = step
            self._mark(tensor, self.outputs, "an output of the model")

    def before_backward(self, losses: Any) -> None:
        self.backwards += 1
        if self.backwards in WALKS:
            self._walk()
        step = self.watch.step
        if step != self.marked_loss and losses and losses[0].grad_fn is not None:
            self.marked_loss = step
            self._mark(losses[0], self.losses, "the loss")

    def _mark(self, tensor: Tensor, alive: WeakSet[Mark], what: str) -> None:
        """Tie a mark to a graph; tell if those of earlier steps are all still there."""
        if len(alive) >= KEPT:
            self.find(
                "warning",
                "graph-kept",
                f"the graphs of {len(alive)} earlier steps are still in memory, held by {what} or "
                "what was computed from it",
                evidence=f"{len(alive)} graphs alive at step {self.watch.step}",
                way_out="keep numbers, not tensors: .item() or .detach()",
            )
        metadata: Any = getattr(tensor.grad_fn, "metadata", None)
        if metadata is not None:
            metadata[MARK] = mark = Mark()
            alive.add(mark)

    def _walk(self) -> None:
        """Count the nodes of a graph, and see whether backward was there before."""
        graph = self.watch.graph
        if graph is None:
            return
        nodes = [node for node in graph.nodes if not hasattr(node, "variable")]
        again = any(MARK + "-walked" in node.metadata for node in nodes)
        for node in nodes:
            node.metadata[MARK + "-walked"] = True
        self.sizes = [*self.sizes[-2:], (len(nodes), again)]
        if len(self.sizes) == 3:
            (first, _), (second, one), (third, other) = self.sizes
            if one and other and first < second < third and third > GROWTH * first:
                self.find(
                    "error",
                    "graph-grows",
                    "backward goes through the graphs of all earlier steps again",
                    evidence=f"{first}, {second}, {third} operations at backward "
                    f"{self.backwards // 4}, {self.backwards // 2}, {self.backwards}",
                    way_out="detach what is carried over from one step to the next",
                )
