"""A check: looks at some moments of a loop, and says each thing once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnhooks.findings import Finding, Level
from nnhooks.watching.events import Events
from nnhooks.watching.places import own_line

if TYPE_CHECKING:
    from nnhooks.watching.watch import Watch


class Check(Events):
    """What checks are made of: subclass it and implement the events to look at.

    `self.watch` is what is known of the loop. A check keeps no graph alive, changes nothing, draws
    no random number, and calls `self.find` when something is wrong. What it raises never reaches
    the loop: from then on it is off, and a `not_run` finding says so.
    """

    watch: Watch

    def __init__(self) -> None:
        self.found: set[str] = set()

    def find(
        self,
        level: Level,
        rule: str,
        message: str,
        *,
        about: str = "",
        evidence: str = "",
        way_out: str = "",
        place: str | None = None,
    ) -> None:
        """Report a finding: of each rule the first only, with the line of the user's own code."""
        if rule in self.found:
            return
        self.found.add(rule)
        package, _, _ = type(self).__module__.partition(".")
        self.watch.report(
            Finding(
                check=type(self).__module__.rpartition(".")[2],
                rule=rule,
                level=level,
                message=message,
                step=self.watch.step,
                about=about,
                place=own_line(package) if place is None else place,
                evidence=evidence,
                way_out=way_out,
            )
        )
