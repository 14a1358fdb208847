"""What is said of a step in a wrong order."""

from __future__ import annotations

from dataclasses import dataclass

from torch.optim import Optimizer

from nnhooks.findings import Level
from nnhooks_plugins.checks._followed import Followed, held_by


@dataclass
class Verdict:
    """What is wrong with a step of an optimizer."""

    rule: str
    message: str
    way_out: str
    about: str = ""
    evidence: str = ""
    level: Level = "error"


def count(passes: int) -> str:
    """Write a number of backward passes."""
    return "1 backward pass" if passes == 1 else f"{passes} backward passes"


def not_zeroed(gradient: Followed, name: str) -> Verdict:
    """Old gradients were used together with new ones."""
    return Verdict(
        "grad-not-zeroed",
        "the optimizer used gradients of an earlier step together with those of this one",
        "call optimizer.zero_grad() once in every step, before backward",
        name,
        f"the gradient of {name} holds {count(gradient.passes)}, some used by a step before",
    )


def used_twice(gradient: Followed, name: str, again: bool) -> Verdict:
    """Gradients were used that had been used before."""
    if again:
        return Verdict(
            "step-twice",
            "the optimizer stepped again with the same gradients, without a backward pass between",
            "call optimizer.step() once for each backward pass",
            name,
            f"the gradient of {name} is the same tensor, unchanged since the step before",
        )
    return Verdict(
        "grad-used-twice",
        "the optimizer used gradients of an earlier step again: backward has brought no new ones",
        "call optimizer.zero_grad() in every step, so that what gets no gradient has none",
        name,
        f"the gradient of {name} is the same tensor, unchanged since the step before",
    )


def backward_twice(gradient: Followed, name: str) -> Verdict:
    """A loss went backward twice into the same gradients."""
    return Verdict(
        "backward-twice",
        "backward went through a loss that had gone backward before: it counts more than once",
        "call backward() once for each loss, and never on a sum with losses that were used before",
        name,
        f"the gradient of {name} holds {count(gradient.passes)}, one inside another's graph",
    )


def stale_forward(gradient: Followed, name: str) -> Verdict:
    """The weights moved between forward and backward."""
    return Verdict(
        "stale-forward",
        "the optimizer stepped between forward and backward: these gradients are those of old "
        "weights",
        "call step() after backward(); detach what is carried from one step into the next",
        name,
        f"the forward pass behind the gradient of {name} ran before the latest step",
    )


FLAWS = {"backward-twice": backward_twice, "stale-forward": stale_forward}


def thrown_away(gradient: Followed, name: str, batches: int = 0) -> Verdict:
    """Gradients were cleared before they were used."""
    of = f" of {batches} batches" if batches else ""
    return Verdict(
        "zero-between-backward-and-step",
        "gradients were zeroed after backward, before the optimizer could use them",
        "call optimizer.zero_grad() right after step(), or before the first forward pass of a step",
        name,
        f"{count(gradient.lost)}{of} into the gradient of {name} thrown away, "
        f"{gradient.passes} used",
    )


def step_outside(gradient: Followed, name: str) -> Verdict:
    """Most gradients were never used."""
    return Verdict(
        "step-missing",
        "most gradients were zeroed without any optimizer having used them",
        "call optimizer.step() inside the loop, after each backward()",
        name,
        f"since the step before, {count(gradient.lost)} into {name} thrown away",
        level="warning",
    )


def without_gradient(optimizer: Optimizer, reached: bool) -> Verdict:
    """A step had no gradient to use."""
    held = list(held_by(optimizer))
    frozen = sum(not parameter.requires_grad for parameter in held)
    if frozen == len(held):
        way_out = "let some of its parameters have requires_grad=True"
    elif reached:
        way_out = "call loss.backward() before optimizer.step()"
    else:
        way_out = "call loss.backward(), and give the optimizer the parameters of that very model"
    return Verdict(
        "step-without-grad",
        "the optimizer stepped, but none of its parameters had a gradient",
        way_out,
        evidence=f"{len(held)} parameters, {frozen} of them frozen; no gradient in any",
    )


def only_zeros(steps: int) -> Verdict:
    """Backward brought nothing but zeros."""
    return Verdict(
        "step-zero-grad",
        "backward brings gradients that are exactly zero everywhere: nothing can be learned",
        "look for what cuts the loss off from the weights: a factor 0, dead units, saturation",
        evidence=f"all gradients of the optimizer are 0 in {steps} inspected steps in a row",
        level="warning",
    )


def never_stepped(optimizer: Optimizer, passes: int, level: Level) -> Verdict:
    """Backward was called again and again, and nothing stepped."""
    return Verdict(
        "step-missing",
        f"{type(optimizer).__name__} got gradients, but optimizer.step() was not called",
        "call optimizer.step() after backward()",
        evidence=f"{count(passes)}, no step",
        level=level,
    )


EXPLAINED = {
    "grad-not-zeroed": """\
backward() adds to `.grad`. What a step has used stays there until it is zeroed, so that each step
uses the gradients of all steps before it as well. Accumulating before a step is right; going on
with what a step has used is not.

    wrong: loss.backward(); optimizer.step()
    right: optimizer.zero_grad(); loss.backward(); optimizer.step()
""",
    "zero-between-backward-and-step": """\
What backward() has made is thrown away before the optimizer can use it: all of it, or, in a step of
several batches, all but the last batch's.

    wrong: loss.backward(); optimizer.zero_grad(); optimizer.step()
    right: optimizer.zero_grad(); loss.backward(); optimizer.step()
""",
    "step-without-grad": """\
An optimizer passes over parameters without a gradient. If none of its parameters has one, its step
does nothing.

    wrong: optimizer.zero_grad(); loss = criterion(model(x), y); optimizer.step()
    right: optimizer.zero_grad(); criterion(model(x), y).backward(); optimizer.step()
""",
    "step-zero-grad": """\
Gradients are there, and all of them are exactly zero: something cuts the loss off from the weights.

    wrong: (0 * criterion(model(x), y)).backward(); optimizer.step()
    right: criterion(model(x), y).backward(); optimizer.step()
""",
    "step-missing": """\
backward() only makes gradients; step() moves the weights.

    wrong: for x, y in batches:
               optimizer.zero_grad(); criterion(model(x), y).backward()
           optimizer.step()
    right: for x, y in batches:
               optimizer.zero_grad(); criterion(model(x), y).backward()
               optimizer.step()
""",
    "backward-twice": """\
A loss that goes backward twice, alone or as part of a sum, counts twice. (It takes
retain_graph=True, which hides the error that torch would raise.)

    wrong: main.backward(retain_graph=True); (main + extra).backward()
    right: (main + extra).backward()
""",
    "step-twice": """\
A second step() without a backward() between moves the weights again along the same gradients.

    wrong: loss.backward(); optimizer.step(); optimizer.step()
    right: loss.backward(); optimizer.step()
""",
    "grad-used-twice": """\
Some parameters got no new gradient in this step, and still have the one of the step before: the
optimizer uses it again.

    wrong: trunk.zero_grad(); head_a(trunk(x)).sum().backward(); optimizer.step()
    right: optimizer.zero_grad(); head_a(trunk(x)).sum().backward(); optimizer.step()
""",
    "stale-forward": """\
The weights moved after the forward pass, so that backward() computes gradients of a loss that no
longer is. Torch notices most of these, but none behind a fused optimizer or a single layer. A
hidden state that is carried on without detach() leads to the same.

    wrong: loss = criterion(model(x), y); optimizer.step(); loss.backward()
    right: loss = criterion(model(x), y); loss.backward(); optimizer.step()
""",
}
