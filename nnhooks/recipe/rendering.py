"""Rendering problems: as text for people, as JSON for tools, as annotations for GitHub."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nnhooks.recipe.problems import Problem

WIDEST = 120  # columns of a source line that are shown


def render(problems: Sequence[Problem], recipe: str = "") -> str:
    """Return the problems as plain text, each with its place and line, and how many at the end."""
    if not problems:
        return ""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    total = f"{count} in {recipe or problems[0].file}; nothing was run"
    return "\n\n".join([*(_block(problem) for problem in problems), total])


def _block(problem: Problem) -> str:
    margin = " " * len(str(problem.line or ""))
    lines = [
        f"error: {problem.message}",
        f"{margin}--> {_where(problem)}",
        *_snippet(problem, margin),
    ]
    lines += [f"{margin} = {line}" for line in problem.hint.splitlines()]
    return "\n".join(lines)


def _where(problem: Problem) -> str:
    source = problem.place.source
    if source.path is None:
        return f"{source.name}: {source.text}" if source.text else source.name
    return f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file


def _snippet(problem: Problem, margin: str) -> list[str]:
    source, line = problem.place.source, problem.line
    if source.path is None or not 0 < line <= len(source.lines):
        return []
    text = source.lines[line - 1]
    start = max(0, problem.column - WIDEST // 2) if len(text) > WIDEST else 0
    text = text[start : start + WIDEST]
    before = "".join("\t" if sign == "\t" else " " for sign in text[: problem.column - 1 - start])
    width = max(1, min(problem.end_column - 1 - start, len(text)) - len(before))
    shown = "".join(
        sign if sign.isprintable() or sign == "\t" else "\N{REPLACEMENT CHARACTER}" for sign in text
    )
    return [f"{margin} |", f"{line} | {shown}", f"{margin} | {before}{'^' * width}"]


def as_json(problems: Sequence[Problem]) -> str:
    """Return the problems as one JSON document whose keys stay the same from version to version."""
    rows = [
        {
            "file": problem.file,
            "line": problem.line,
            "column": problem.column,
            "end_column": problem.end_column,
            "path": problem.path,
            "code": problem.code,
            "message": problem.message,
            "hint": problem.hint,
            "suggestion": problem.suggestion,
            "known": list(problem.known),
        }
        for problem in problems
    ]
    return json.dumps({"ok": not rows, "problems": rows}, indent=2)


def as_github(problems: Sequence[Problem]) -> str:
    """Return the problems as workflow commands, which GitHub shows beside the lines they are about.

    https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
    """
    return "\n".join(_annotation(problem) for problem in problems)


def _annotation(problem: Problem) -> str:
    text = problem.message + "".join(f"\n{line}" for line in problem.hint.splitlines())
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    file = problem.file.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::error file={file},line={problem.line},col={problem.column}::{text}"
