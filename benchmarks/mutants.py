"""Mistakes made on purpose, one at a time, in programs that are right: which are noticed."""

from __future__ import annotations

import ast
import copy
import inspect
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

LINES = {"zero_grad", "backward", "step", "clip_grad_norm_"}
CALLS = {"cross_entropy", "mse_loss", "binary_cross_entropy_with_logits"}


def named(node: ast.AST) -> str:
    """Return the name that a call ends in."""
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "attr", getattr(function, "id", ""))


def lines(tree: ast.AST) -> Iterator[tuple[list[ast.stmt], int, str]]:
    """Yield the lines of a step: the block they stand in, their place, what they call."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(node, ast.For) or not isinstance(body, list):
            continue
        for place, line in enumerate(body):
            if isinstance(line, ast.Expr) and named(line.value) in LINES:
                yield body, place, named(line.value)


def line_operators(tree: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    """Drop, double or move a line of the step."""
    for number, (_, _, name) in enumerate(lines(tree)):

        def change(other: ast.AST, how: str, number: int = number) -> None:
            body, place, _ = list(lines(other))[number]
            line = body.pop(place)
            if how == "double":
                body[place:place] = [line, copy.deepcopy(line)]
            elif how == "move":
                body.insert(max(0, place - 1) if place else 1, line)
            elif not body:
                body.append(ast.Pass())

        for how in ("drop", "double", "move"):
            yield f"{how} {name}", lambda other, how=how, change=change: change(other, how)


def call_operators(tree: ast.AST) -> Iterator[tuple[str, Callable[[ast.AST], None]]]:
    """Detach what a loss is made of, turn its sign, sum it, or swap or cut its inputs."""
    calls = [node for node in ast.walk(tree) if named(node) in CALLS]
    for number, _ in enumerate(calls):

        def change(other: ast.AST, how: str, number: int = number) -> None:
            call: Any = [node for node in ast.walk(other) if named(node) in CALLS][number]
            source = ast.unparse(call.args[0])
            if how == "detach":
                call.args[0] = ast.parse(f"({source}).detach().requires_grad_()", mode="eval").body
            elif how == "softmax":
                call.args[0] = ast.parse(f"({source}).softmax(0)", mode="eval").body
            elif how == "sum":
                call.keywords = [k for k in call.keywords if k.arg != "reduction"]
                call.keywords.append(ast.keyword("reduction", ast.Constant("sum")))
            elif how == "sign":
                inner = copy.copy(call)
                call.func = ast.parse("(lambda loss: -loss)", mode="eval").body
                call.args, call.keywords = [inner], []
            elif how == "rows":
                target = ast.unparse(call.args[1])
                call.args[1] = ast.parse(f"({target}).roll(1, 0)", mode="eval").body

        for how in ("detach", "softmax", "sum", "sign", "rows"):
            yield how, lambda other, how=how, change=change: change(other, how)


def mutants(program: Callable[..., Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield programs with one mistake each."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(program)))
    function = tree.body[0]
    function.decorator_list = []  # type: ignore[attr-defined]
    for name, change in [*line_operators(tree), *call_operators(tree)]:
        other = copy.deepcopy(tree)
        change(other)
        if ast.dump(other) == ast.dump(tree):
            continue
        ast.fix_missing_locations(other)
        space = dict(vars(sys.modules[program.__module__]))
        file = inspect.getsourcefile(program) or "<mutant>"
        exec(compile(other, file, "exec"), space)
        yield name, space[program.__name__]


def main(gate: Any, lab: Any, seconds: float = 240) -> None:
    """Print for each operator how many of its mistakes raise an alarm; a crash is no mutant."""
    made: Counter[str] = Counter()
    found: Counter[str] = Counter()
    until = time.monotonic() + seconds
    for program in lab.CLEAN:
        if program.program.__module__ != "corpus_clean" or time.monotonic() > until:
            continue
        for name, mutant in mutants(program.program):
            watched = lab.Lab()
            try:
                gate.run(mutant, watched, 0)
            except Exception:
                continue
            made[name] += 1
            found[name] += bool(gate.alarms(watched))
    for name in sorted(made):
        print(f"{name:<22}{found[name]:4} of {made[name]}")
    print(f"mistakes noticed {found.total()} of {made.total()}")
