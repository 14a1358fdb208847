"""A faster model, the same loop.

In plain PyTorch:

    model.compile(mode=mode)
"""

from __future__ import annotations

from typing import Literal

import torch

from nnhooks import PluginError, Trainer, did_you_mean, hookimpl

Mode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
DEBUGGING = ["eager", "aot_eager"]


class Compile:
    """Compiles the model with torch.compile, in place: its parameters keep their names.

    The first batch of each new shape takes long; `dynamic` says whether sizes are to be kept open
    from the start (None: once they vary). `fullgraph` makes it an error if the model cannot be
    compiled in one piece. Results are close to those of eager mode, not the same bits.
    """

    def __init__(
        self,
        mode: Mode = "default",
        fullgraph: bool = False,
        dynamic: bool | None = None,
        backend: str = "inductor",
    ) -> None:
        known = [*torch.compiler.list_backends(), *DEBUGGING]
        if backend not in known:
            it_has = f"it has: {', '.join(known)}{did_you_mean(backend, known)}"
            raise PluginError(f"torch.compile has no backend `{backend}`; {it_has}")
        self.mode, self.fullgraph, self.dynamic, self.backend = mode, fullgraph, dynamic, backend

    @hookimpl
    def on_setup(self, trainer: Trainer) -> None:
        trainer.model.compile(
            mode=self.mode, fullgraph=self.fullgraph, dynamic=self.dynamic, backend=self.backend
        )
