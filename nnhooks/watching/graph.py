"""The graph behind a loss: its leaves and operations, walked once, kept by nobody."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from torch import Tensor

MOST_NODES = 100_000  # of a larger graph only the part near the loss is seen


class Graph:
    """What backward will go through; walked when somebody asks, and only then."""

    def __init__(self, roots: Sequence[Tensor]) -> None:
        self.roots = roots

    @cached_property
    def nodes(self) -> list[Any]:
        """Every operation (grad_fn), those nearest to the losses first."""
        waiting = deque(root.grad_fn for root in self.roots if root.grad_fn is not None)
        seen = dict.fromkeys(waiting)
        while waiting and len(seen) < MOST_NODES:
            for node, _ in waiting.popleft().next_functions:
                if node is not None and node not in seen:
                    seen[node] = None
                    waiting.append(node)
        return list(seen)

    @cached_property
    def leaves(self) -> dict[int, Tensor]:
        """The tensors whose `.grad` backward will add to, by identity."""
        tensors = [node.variable for node in self.nodes if hasattr(node, "variable")]
        return {id(tensor): tensor for tensor in tensors}
