"""Reading YAML: one pass over the parser's events builds nodes that know their places."""

from __future__ import annotations

from typing import Any

import yaml

from nnhooks.recipe.nodes import Node, Place, Source
from nnhooks.recipe.problems import Problem, RecipeError
from nnhooks.recipe.scalars import scalar

try:  # libyaml's parser is ten times as fast; both give the same events
    from yaml.cyaml import CParser as Parser  # type: ignore[attr-defined]
except ImportError:  # pragma: no cover - a PyYAML built without libyaml
    from yaml import SafeLoader as Parser  # type: ignore[assignment]

DEEPEST = 50  # blocks within blocks
MOST_EXPANDED = 100_000  # values that aliases and merge keys may add up to


def compose(source: Source, problems: list[Problem]) -> Node | None:
    """Return the one document of a source, None if it is empty; add mistakes in keys to `problems`.

    Raises RecipeError where the text is not YAML, or no YAML that a recipe may be.
    """
    try:
        return _Composer(source, problems).document()
    except yaml.MarkedYAMLError as error:
        raise RecipeError([_syntax(error, source)]) from None


class _Composer:
    """Turns one stream of events into nodes."""

    def __init__(self, source: Source, problems: list[Problem]) -> None:
        self.source, self.problems = source, problems
        self.parser: Any = Parser(source.text)
        self.anchors: dict[str, Node | None] = {}
        self.expanded = self.depth = 0

    def document(self) -> Node | None:
        self.parser.get_event()  # the start of the stream
        if self.parser.check_event(yaml.StreamEndEvent):
            return None
        self.parser.get_event()  # the start of the document
        node = self.node()
        self.parser.get_event()  # the end of the document
        if not self.parser.check_event(yaml.StreamEndEvent):
            place = self.place(self.parser.get_event())
            raise self.refusal("a recipe is one YAML document, here a second one starts", place)
        return node

    def node(self) -> Node:
        event = self.parser.get_event()
        place = self.place(event)
        if isinstance(event, yaml.AliasEvent):
            return self.aliased(str(event.anchor), place)
        if event.tag is not None:
            hint = 'write the value as it is; put text that looks like a number in quotes: "10"'
            raise self.refusal(f"recipes have no tags, here `{event.tag}`", place, hint)
        if event.anchor:
            self.anchors[event.anchor] = None  # known, but not whole before its end
        node = self.content(event, place)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def content(self, event: Any, place: Place) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            return Node(scalar(event.value) if event.implicit[0] else event.value, place)
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.refusal(f"blocks lie more than {DEEPEST} deep in one another", place)
        sequence = isinstance(event, yaml.SequenceStartEvent)
        node = Node(self.sequence() if sequence else self.mapping(), place)
        self.depth -= 1
        return node

    def sequence(self) -> list[Node]:
        items = []
        while not self.parser.check_event(yaml.SequenceEndEvent):
            items.append(self.node())
        self.parser.get_event()
        return items

    def mapping(self) -> dict[Any, Node]:
        """Read the pairs of a mapping; what is merged in (`<<`) gives way to what is written."""
        own: dict[Any, Node] = {}
        merged: dict[Any, Node] = {}
        while not self.parser.check_event(yaml.MappingEndEvent):
            key = self.node()
            value = self.node()
            if key.value == "<<":
                for name, node in self.merged(value).items():
                    merged.setdefault(name, node)
            elif self.allowed(key, own):
                own[key.value] = Node(value.value, value.place, key.place)
        self.parser.get_event()
        return {**merged, **own}

    def allowed(self, key: Node, own: dict[Any, Node]) -> bool:
        """Report a key that is no word, or is there already; the first one counts."""
        if not isinstance(key.value, str | int | float):
            self.problems.append(Problem("refused", "a key should be a word", key.place))
            return False
        first = own.get(key.value)
        if first is None or first.key is None:
            return True
        hint = f"first on line {first.key.line}"
        message = f"`{key.value}` is written twice"
        self.problems.append(Problem("written-twice", message, key.place, str(key.value), hint))
        return False

    def merged(self, value: Node) -> dict[Any, Node]:
        """Return what `<<` brings in: the pairs of one mapping, or of several, the first first."""
        result: dict[Any, Node] = {}
        for node in value.value if isinstance(value.value, list) else [value]:
            if not isinstance(node.value, dict):
                hint = "as in `<<: *defaults`, with `&defaults` on a mapping above"
                raise self.refusal("`<<` merges mappings, and this is none", node.place, hint)
            self.expand(node.size, value.place)
            result = {**node.value, **result}
        return result

    def aliased(self, anchor: str, place: Place) -> Node:
        if anchor not in self.anchors:
            known = ", ".join(f"`&{name}`" for name in self.anchors)
            hint = (
                f"there is {known}"
                if known
                else "an anchor is written `&name` and stands further up"
            )
            raise self.refusal(f"there is no anchor `&{anchor}` above", place, hint)
        node = self.anchors[anchor]
        if node is None:
            raise self.refusal(f"`*{anchor}` stands inside the very value it means", place)
        self.expand(node.size, place)
        return node

    def expand(self, values: int, place: Place) -> None:
        self.expanded += values
        if self.expanded > MOST_EXPANDED:
            raise self.refusal(
                f"aliases grow this recipe to more than {MOST_EXPANDED} values", place
            )

    def place(self, event: Any) -> Place:
        start, end = event.start_mark, event.end_mark
        stop = end.column + 1 if end.line == start.line else len(self.source.lines[start.line]) + 1
        return Place(self.source, start.line + 1, start.column + 1, max(stop, start.column + 2))

    def refusal(self, message: str, place: Place, hint: str = "") -> RecipeError:
        return RecipeError([Problem("refused", message, place, hint=hint)])


def _syntax(error: yaml.MarkedYAMLError, source: Source) -> Problem:
    """Return what the parser says, with the hint that fits the line it stopped at."""
    mark: Any = error.problem_mark or error.context_mark
    line = source.lines[mark.line] if mark.line < len(source.lines) else ""
    sign = line[mark.column : mark.column + 1]
    message = f"not valid YAML: {error.problem}"
    if sign == "\t" or "tab" in str(error.problem):
        message, hint = "not valid YAML: a tab, where only spaces may stand", "indent with spaces"
    elif "cannot start any token" in str(error.problem):
        message, hint = f"not valid YAML: a value cannot start with {sign}", "put it in quotes"
    elif "quoted" in str(error.context) and error.context_mark:
        mark, message, hint = error.context_mark, "not valid YAML: a quote that never ends", ""
    elif "${" in line and "flow" in str(error.context):
        hint = 'quote a reference inside { } and [ ]: "${...}"'
    elif error.context and error.context_mark:
        hint = f"{error.context} from line {error.context_mark.line + 1}"
    else:
        hint = "check the indent, and the space after `:`"
    place = Place(source, mark.line + 1, mark.column + 1, mark.column + 2)
    return Problem("not-yaml", message, place, hint=hint)
