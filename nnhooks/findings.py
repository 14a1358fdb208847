"""What checks say: a finding names what was seen, where, with which numbers, and the way out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note", "ok", "not_run"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One judgement of one check.

    `error` contradicts the documentation or the recipe exactly, `warning` is a matter of degree,
    `note` is worth knowing, and `ok` says what was looked at; `not_run` says what was not, and
    why: silence must never look like health. `rule` names the kind of mistake, `about` the
    parameter or tensor, `place` the line of the user's own code (file:line).
    """

    check: str
    level: Level
    message: str
    rule: str = ""
    step: int | None = None
    about: str = ""
    place: str = ""
    evidence: str = ""
    way_out: str = ""


def verdict(findings: Iterable[Finding]) -> Level:
    """Return the worst level among the findings; nothing found is `ok`."""
    levels = {finding.level for finding in findings}
    if "error" in levels:
        return "error"
    return "warning" if "warning" in levels else "ok"
