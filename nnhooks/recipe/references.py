"""References: `${trainer.epochs}`, `${env:NAME:-default}` and questions: `${data:num_classes}`.

No expressions, no nesting; `$${` is a plain `${`. A reference that is a whole value keeps its type.
"""

from __future__ import annotations

import os
import re
from typing import Any, NoReturn

from nnhooks.recipe.nodes import Ask, Late, Node
from nnhooks.recipe.problems import Problem, RecipeError, choices, nearest
from nnhooks.recipe.reading import DEEPEST, MOST_EXPANDED
from nnhooks.recipe.scalars import scalar, written

REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)(\}?)")
KINDS = ("data", "env", "run")
RUN = ("dir", "steps")
LONGEST = 100_000  # characters that text with references in it may grow to


def filled(root: Node, problems: list[Problem]) -> Node:
    """Return the recipe with every reference filled in, but for what only building can answer."""
    return _Filler(root, problems).fill(root, "")


class _Refused(Exception):
    """A reference that leads nowhere; its problem is reported where the value stands."""


class _Filler:
    """Fills values in, each referenced one once."""

    def __init__(self, root: Node, problems: list[Problem]) -> None:
        self.root, self.problems = root, problems
        self.done: dict[str, Node] = {}
        self.active: dict[str, Node] = {}  # the references being followed, and who made them
        self.expanded = 0

    def fill(self, node: Node, path: str) -> Node:
        """Return the node with the references at and below it filled in."""
        if isinstance(node.value, str) and "${" in node.value:
            try:
                return self.text(node, path)
            except _Refused:
                return Node(Late(()), node.place, node.key, node.value)
        if isinstance(node.value, list):
            items: Any = [self.fill(item, f"{path}.{at}") for at, item in enumerate(node.value)]
        elif isinstance(node.value, dict):
            items = {name: self.fill(item, f"{path}.{name}") for name, item in node.value.items()}
        else:
            return node
        return Node(items, node.place, node.key)

    def text(self, node: Node, path: str) -> Node:
        """Fill in one text: a lone reference becomes the value it means, others become text."""
        whole = REFERENCE.fullmatch(node.value)
        if whole and whole.group(1) is not None:
            meant = self.meant(whole, node, path)
            return Node(meant.value, meant.place, node.key, meant.written)
        parts, end = [], 0
        for match in REFERENCE.finditer(node.value):
            parts += [Node(node.value[end : match.start()], node.place)]
            parts += [self.meant(match, node, path)]
            end = match.end()
        return self.joined([*parts, Node(node.value[end:], node.place)], node, path)

    def joined(self, parts: list[Node], node: Node, path: str) -> Node:
        """Return text made of parts, which stays open where one of them is a question."""
        if any(isinstance(part.value, dict | list) for part in parts):
            self.refuse("a list or mapping cannot stand inside text", node, path)
        late = any(isinstance(part.value, Late) for part in parts)
        kept = late or any(part.written for part in parts)
        source = (
            "".join(part.written or _escaped(_text(part.value)) for part in parts) if kept else None
        )
        pieces: list[str | Ask] = []
        for part in parts:
            pieces += part.value.parts if isinstance(part.value, Late) else [_text(part.value)]
        if sum(len(piece) for piece in pieces if isinstance(piece, str)) > LONGEST:
            self.refuse(f"references grow this text to more than {LONGEST} characters", node, path)
        value = Late(tuple(pieces)) if late else "".join(map(str, pieces))
        return Node(value, node.place, node.key, source)

    def meant(self, match: re.Match[str], node: Node, path: str) -> Node:
        """Return what one reference means."""
        content, closed = match.groups()
        if content is None:
            return Node("${", node.place)
        if not closed or not content:
            hint = "write ${section.setting}, or $${ for these signs themselves"
            self.refuse(f"`{match.group()}` is no whole reference", node, path, hint)
        kind, colon, name = content.partition(":")
        if not colon:
            return self.setting(content, node, path)
        if kind == "env":
            return self.environment(name, match.group(), node, path)
        if kind not in KINDS:
            hint = "there is ${section.setting}, ${env:NAME}, ${data:NAME} and ${run:NAME}"
            self.refuse(f"`{match.group()}` asks `{kind}`, which knows nothing", node, path, hint)
        if kind == "run" and name not in RUN:
            hint = choices(nearest(name, RUN), RUN)
            self.refuse(f"a run has no `{name}`", node, path, hint, "no-such-name")
        return Node(Late((Ask(kind, name),)), node.place, None, match.group())

    def environment(self, content: str, source: str, node: Node, path: str) -> Node:
        name, fallback, default = content.partition(":-")
        value = os.environ.get(name, default if fallback else None)
        if value is None:
            hint = f"set it, or write ${{env:{name}:-default}}"
            self.refuse(f"the environment has no variable `{name}`", node, path, hint, "missing")
        return Node(scalar(value or ""), node.place, None, source)

    def setting(self, key: str, node: Node, path: str) -> Node:
        """Return another value of the recipe, filled in itself."""
        if key in self.done:
            return self.counted(self.done[key], node, path)
        if key in self.active:
            self.refuse_cycle(key, node, path)
        target = self.root.get(*key.split("."))
        if target is None:
            self.refuse_unknown(key, node, path)
        if len(self.active) > DEEPEST:
            self.refuse(f"more than {DEEPEST} references follow one another", node, path)
        self.active[key] = node
        try:
            self.done[key] = self.fill(target, f".{key}")
        finally:
            del self.active[key]
        return self.counted(self.done[key], node, path)

    def counted(self, meant: Node, node: Node, path: str) -> Node:
        """Return the node, unless references have grown the recipe beyond measure."""
        self.expanded += meant.size
        if self.expanded > MOST_EXPANDED:
            message = f"references grow this recipe to more than {MOST_EXPANDED} values"
            raise RecipeError([Problem("refused", message, node.place, path[1:])])
        if meant.depth > DEEPEST:
            self.refuse(f"references nest blocks more than {DEEPEST} deep", node, path)
        return meant

    def refuse_cycle(self, key: str, node: Node, path: str) -> NoReturn:
        around = list(self.active.items())[list(self.active).index(key) :]
        steps = [f"`{one}` is asked for at {asker.place}" for one, asker in around]
        hint = "\n".join([*steps, f"and to know it, `{key}` is asked for again here"])
        self.refuse(f"`{key}` refers to itself", node, path, hint)

    def refuse_unknown(self, key: str, node: Node, path: str) -> NoReturn:
        """Report the first step of a path that leads nowhere, with what there is instead."""
        block, names = self.root, key.split(".")
        for depth, name in enumerate(names):
            below = block.child(name)
            if below is None:
                known = [str(one) for one in block.items]
                near = nearest(name, known)
                hint = (
                    choices(near, known) or "only values written in the recipe can be referred to"
                )
                where = f"`{'.'.join(names[:depth])}` has no" if depth else "this recipe has no"
                message = f"`${{{key}}}` leads nowhere: {where} `{name}`"
                self.report(
                    Problem("no-such-name", message, node.place, path[1:], hint, near, tuple(known))
                )
            block = below
        raise AssertionError(key)

    def refuse(
        self, message: str, node: Node, path: str, hint: str = "", code: str = "refused"
    ) -> NoReturn:
        self.report(Problem(code, message, node.place, path[1:], hint))

    def report(self, problem: Problem) -> NoReturn:
        self.problems.append(problem)
        raise _Refused


def _text(value: Any) -> str:
    return (
        value if isinstance(value, str) else written(value) if not isinstance(value, Late) else ""
    )


def _escaped(text: str) -> str:
    return text.replace("${", "$${")
