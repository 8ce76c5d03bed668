"""What to do when a file is broken: stop with the place and the remedy, or skip, count and report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

OnError = Literal["stop", "skip"]
Notice = Callable[[str], None]

KEPT_EXAMPLES = 20


class Faults:
    """Collects the broken places of one preparation; a fault stops everything unless faults are skipped."""

    def __init__(self, on_error: OnError, notice: Notice = lambda _: None) -> None:
        self.on_error = on_error
        self.notice = notice
        self.counts: Counter[str] = Counter()
        self.encodings: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def report(self, place: str, reason: str, problem: str, remedy: str) -> None:
        """Raise ValueError naming place, problem and remedy, or count the fault under `reason`."""
        if self.on_error == "stop":
            raise ValueError(f"{place}: {problem}; {remedy}, or set read.on_error=skip to leave it out")
        self.counts[reason] += 1
        seen = self.examples.setdefault(reason, [])
        if not seen:
            self.notice(f"{place}: {problem}; left out, and so is whatever else has this fault")
        if len(seen) < KEPT_EXAMPLES:
            seen.append(f"{place}: {problem}")
