"""Making: calls become objects, and whatever they refuse is shown where the recipe says it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from traceback import walk_tb
from typing import Any

from nnhooks.data import DataError
from nnhooks.objects.calls import Call, Value, anchored
from nnhooks.objects.local import own_frames, summary
from nnhooks.objects.slots import Method
from nnhooks.plugins import PluginError
from nnhooks.recipe.nodes import Ask, Late, Node, Place
from nnhooks.recipe.problems import Problem, RecipeError, unknown
from nnhooks.recipe.scalars import written
from nnhooks.recipe.values import checked

Answer = Callable[[], Any]


@dataclass
class Maker:
    """Makes objects; `answers` know what only building can know: `data`, `run.steps`, `model`.

    `plugins` are the calls of those made so far, by the `id` of what they made.
    """

    recipe: str
    answers: dict[str, Answer] = field(default_factory=dict)
    plugins: dict[int, Call] = field(default_factory=dict)

    def make(self, call: Call, **filled: Any) -> Any:
        """Return the object that a call makes, or what makes it once it is called.

        Raises RecipeError with what the constructor refused, and where.
        """
        arguments = {name: self.value(argument) for name, argument in call.arguments.items()}
        target = call.target
        if isinstance(target, Method):
            target = self.bound(target, call)
        if not call.deferred:
            with self.blaming(call):
                return target(**arguments, **filled)
        if isinstance(target, type):
            return partial(self.later, call, arguments)
        return partial(target, **arguments) if arguments else target

    def later(self, call: Call, arguments: dict[str, Any], *given: Any) -> Any:
        """Make a deferred call, with what its caller gives."""
        with self.blaming(call):
            return call.target(*given, **arguments)

    def bound(self, method: Method, call: Call) -> Any:
        """Return an instance method of the model that was built."""
        model = self.answers["model"]()
        if isinstance(model, method.owner):
            return method.function.__get__(model)
        message = f"{call.title} is a method of {method.owner.__name__}"
        hint = f"the model is {type(model).__name__}: put @staticmethod above it, or name another"
        raise self.error(Problem("refused", message, call.place, call.path, hint))

    def value(self, argument: Any) -> Any:
        """Return an argument, made and filled in."""
        if isinstance(argument, Call):
            return self.make(argument)
        if isinstance(argument, list):
            return [self.value(item) for item in argument]
        if isinstance(argument, dict):
            return {name: self.value(item) for name, item in argument.items()}
        return self.late(argument) if argument.late else argument.value

    def late(self, argument: Value) -> Any:
        """Ask what a value asks for, then check it as if it had been written."""
        node = self.answered(argument.node, argument.path)
        value, problems = checked(node, argument.setting.annotation, argument.path)
        if problems:
            raise self.error(*problems)
        return anchored(value, node)

    def answered(self, node: Node, path: str) -> Node:
        """Return the node with all questions in it answered."""
        if isinstance(node.value, Late):
            answers = [self.answer(part, node, path) for part in node.value.parts]
            value = answers[0] if len(answers) == 1 else "".join(map(_text, answers))
            return as_node(value, node)
        if isinstance(node.value, list):
            value = [self.answered(item, path) for item in node.value]
        elif isinstance(node.value, dict):
            value = {name: self.answered(item, path) for name, item in node.items.items()}
        else:
            return node
        return Node(value, node.place, node.key)

    def answer(self, part: str | Ask, node: Node, path: str) -> Any:
        """Answer one question, such as `${data:num_classes}`."""
        if isinstance(part, str):
            return part
        if part.kind == "run":
            return self.asked(self.answers[f"run.{part.name}"], node.place, path)
        if "data" not in self.answers:
            message = f"`${{data:{part.name}}}` is asked for while the data itself is built"
            raise self.error(Problem("refused", message, node.place, path))
        data = self.answers["data"]()
        if part.name.startswith("_") or part.name not in dir(data):
            known = tuple(name for name in dir(data) if not name.startswith("_"))
            message = f"{type(data).__name__} has no `{part.name}` to ask for"
            code = "no-such-name"
            raise self.error(unknown(message, node.place, part.name, known, path=path, code=code))
        return self.asked(lambda: getattr(data, part.name), node.place, path)

    def asked(self, answer: Answer, place: Place, path: str) -> Any:
        """Return an answer; an error is shown where the question stands."""
        try:
            return answer()
        except Exception as error:
            raise self.error(problem_of(error, "", place, path)) from error

    @contextmanager
    def blaming(self, call: Call) -> Iterator[None]:
        """Show an error at the argument that it names, else where the target is named."""
        try:
            yield
        except RecipeError:
            raise
        except Exception as error:
            call = self.culprit(error, call)
            name = blamed(str(error), call)
            argument = call.arguments.get(name) if name else None
            place = argument.node.place if isinstance(argument, Value | Call) else call.place
            path = f"{call.path}.{name}" if name else call.path
            raise self.error(problem_of(error, call.title, place, path)) from error

    def culprit(self, error: Exception, call: Call) -> Call:
        """Return the plugin in whose code an error came up, else the call itself."""
        for frame, _ in walk_tb(error.__traceback__):
            call = self.plugins.get(id(frame.f_locals.get("self")), call)
        return call

    def error(self, *problems: Problem) -> RecipeError:
        """Return problems as an error of this recipe."""
        return RecipeError(problems, self.recipe)


def as_node(value: Any, node: Node) -> Node:
    """Return an answer as if it had been written where the question stands."""
    if isinstance(value, list | tuple):
        value = [as_node(item, node) for item in value]
    elif isinstance(value, dict):
        value = {name: as_node(item, node) for name, item in value.items()}
    return Node(value, node.place, node.key)


def problem_of(error: Exception, who: str, place: Place, path: str) -> Problem:
    """Return the problem that an error from elsewhere is; ours are plain sentences already."""
    hint = own_frames(error)
    if isinstance(error, FileNotFoundError):
        said = f"there is no file {error.filename}" if error.filename else str(error)
        return Problem("no-such-file", said, place, path, hint)
    if isinstance(error, DataError | PluginError) or not who:
        return Problem("refused", str(error), place, path, hint)
    return Problem("refused", f"{who} failed: {summary(error)}", place, path, hint)


def blamed(message: str, call: Call) -> str | None:
    """Return the argument that a message names, or whose value it quotes."""
    named = [name for name in call.arguments if f"`{name}`" in message]
    named += [name for name in call.arguments if name in message.replace(":", " ").split()]
    if named:
        return named[0]
    words = {word.strip("`'\",;:()[]") for word in re.sub(r":\d+", "", message).split()}
    for quoted in (set(re.findall("[`'\"](.+?)[`'\"]", message)), words):
        found = [name for name, one in call.arguments.items() if quoted & _quotations(one)]
        if len(found) == 1:
            return found[0]
    return None


def _quotations(argument: Any) -> set[str]:
    """Return the words by which a message would quote a value or a part of it."""
    if not isinstance(argument, Value):
        return set()
    values = [one.value for one in argument.node.walk()]
    if not isinstance(argument.value, list | tuple | dict):
        values.append(argument.value)
    return {str(value) for value in values if not isinstance(value, list | dict)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else written(value)
