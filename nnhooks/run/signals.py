"""Signals: a run that is asked to end does so after its step, where it can be resumed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Turns Ctrl-C and SIGTERM into a request; a second one interrupts at once.

    Before there is somebody to ask, the first one interrupts at once too.
    """

    def __init__(self) -> None:
        self.ask: Callable[[str], None] | None = None
        self.received: signal.Signals | None = None

    def __enter__(self) -> Signals:
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again, self.received = self.received is not None, signal.Signals(number)
        name = "Ctrl-C" if number == signal.SIGINT else self.received.name
        if self.ask is None or again:
            raise KeyboardInterrupt(name)
        self.ask(name)
