"""What one parameter's gradient holds: which backward passes, of which steps, and used or not."""

from __future__ import annotations

from weakref import ref

from torch import Tensor, nn

LOOKS = 10  # steps in which values are looked at on a device that has to be waited for


class Gradient:
    """The gradient of one parameter, followed through the steps.

    What backward did, autograd's hooks tell. What others did shows in the tensor: it is gone, full
    of zeros, another one, or another version of the same. It is held by a weak reference, so that
    it takes no memory longer than it would without us.
    """

    __slots__ = (
        "first", "last", "name", "parameter", "passes", "reused", "round", "seen", "used", "version"
    )  # fmt: skip

    def __init__(self, name: str, parameter: nn.Parameter) -> None:
        self.name, self.parameter = name, parameter
        self.round = 0  # the backward pass of this step that reached it last
        self.clear()
        self.seen: ref[Tensor] | None = None
        self.version = 0

    def clear(self) -> None:
        """Hold nothing."""
        self.passes = self.first = self.last = 0  # how many passes; the steps of the outer two
        self.used = self.reused = False  # by the optimizer; by further passes on top of that

    def add(self, step: int) -> None:
        """Hold one more backward pass."""
        self.first, self.last = self.first if self.passes else step, step
        self.reused, self.used = self.reused or self.used, False
        self.passes += 1
        self.remember()

    def use(self) -> None:
        """Know that the optimizer has used what it holds."""
        self.used = self.passes > 0
        self.remember()

    def look(self, step: int) -> bool:
        """Take up what was done to the tensor by hand; say whether that was clearing it."""
        gradient = self.parameter.grad
        if gradient is None:
            return self.cleared()
        known = self.seen is not None and self.seen() is gradient
        if known and gradient._version == self.version:  # nobody has touched it
            return False
        self.remember()
        if self.is_zero(gradient, step):
            return self.cleared()
        if not known or not self.passes:  # assigned: as good as a backward pass
            self.clear()
            self.add(step)
        return False

    def is_stale(self, step: int) -> bool:
        """Say whether it holds what an earlier step, or step of the optimizer, has left."""
        return self.used or self.reused or self.first < step

    def cleared(self) -> bool:
        """Hold nothing; say whether that is news."""
        held = self.passes > 0
        if held:
            self.clear()
        return held

    def remember(self) -> None:
        """Know the tensor as it is now."""
        gradient = self.parameter.grad
        if gradient is not None:
            self.seen, self.version = ref(gradient), gradient._version

    def is_zero(self, gradient: Tensor, step: int) -> bool:
        """Say whether a tensor that was changed in place is zero.

        Where looking would keep the device waiting, that is only done in the first steps. Later
        a gradient changed after its use was zeroed, one changed before its use was scaled.
        """
        if step > LOOKS and gradient.device.type != "cpu":
            return self.used or not self.passes
        return not has_value(gradient)

    def is_doubled_by(self, incoming: Tensor) -> bool | None:
        """Say whether a pass brings exactly what the gradient holds already; None if nothing."""
        gradient = self.parameter.grad
        if gradient is None or not has_value(gradient):
            return None
        return dense(gradient).equal(dense(incoming))

    def __str__(self) -> str:
        passes = "1 backward pass" if self.passes == 1 else f"{self.passes} backward passes"
        last = f" to {self.last}" if self.last > self.first else ""
        return f"the gradient of {self.name} holds {passes}, of step {self.first}{last}"


def has_value(gradient: Tensor) -> bool:
    """Say whether there is anything but zeros in it."""
    return bool(dense(gradient).any())


def dense(gradient: Tensor) -> Tensor:
    """Return a gradient's values, also of a sparse one."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient
