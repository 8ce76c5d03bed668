"""Measure rootlm beside its peers: python -m benchmarks [FIGURE…] [quick=true] [cores=0,1] [out=FILE]

Every contestant runs in its own process with its own best settings, pinned to the same two cores, in turns; a
figure is the ratio of medians. One JSON line per figure goes to the file, a table to the terminal.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pydantic import Field

from benchmarks import contest
from benchmarks.figures import catalogue
from benchmarks.ngram import Counted
from rootlm.cli.arguments import help_text, parse
from rootlm.core.config import Config
from rootlm.core.mistakes import nearest


class Settings(Config):
    figures: list[str] = Field(default_factory=list)
    """Which figures; none measures all."""
    quick: bool = False
    """Three rounds instead of five, and a shorter race to the loss."""
    rounds: int | None = Field(None, ge=1)
    """How often everybody runs, in turns; none: five, or three when it is quick."""
    cores: str = "0,1"
    """The cores that everybody is pinned to, as `taskset` writes them; empty pins nobody."""
    wait_seconds: float = 0.0
    """How long to wait, before each run, for other processes to leave the cores alone."""
    lmplz: str = ""
    """For n-grams: KenLM's lmplz, with query and build_binary beside it; empty looks on the path, else builds them."""
    texts: list[str] = Field(default_factory=list)
    """For n-grams: texts with a sentence on each line; none takes the Treebank if it was fetched, else what ships."""
    order: int = Field(5, ge=1)
    """For n-grams: the most words of one."""
    out: str = ""
    """The file of JSON lines; empty writes benchmarks/results/DATE.jsonl."""


def main(tokens: list[str]) -> int:
    if "--help" in tokens or "-h" in tokens:
        print(help_text("python -m benchmarks", "speed and memory beside the peers", Settings, __doc__ or ""))
        return 0
    settings, _ = parse(tokens, Settings, positional=["figures*"])
    counted = Counted(tuple(settings.texts), settings.lmplz, settings.order)
    known = catalogue(settings.quick, counted)
    for name in settings.figures:
        if name not in known:
            raise ValueError(f"unknown figure {name}; {nearest(name, known)}")
    file = Path(settings.out) if settings.out else contest.RESULTS / time.strftime("%Y-%m-%d.jsonl")
    game = contest.Contest(
        settings.cores, settings.rounds or (3 if settings.quick else 5), settings.wait_seconds
    )
    found, failed = [], []
    for name in settings.figures or known:
        print(f"{name}:", flush=True)
        try:
            figures = known[name](game)
        except ValueError as error:
            print(f"  not measured: {error}", flush=True)
            failed.append(name)
            continue
        contest.write(figures, file)
        found += figures
    print("\n" + contest.table(found) + f"\n\n{file}: {len(found)} figures")
    if failed:
        print(f"not measured: {', '.join(failed)}")
    return 1 if failed else 0


def start(tokens: list[str]) -> int:
    """Measure as asked; a mistake is one line."""
    try:
        return main(tokens)
    except ValueError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(start(sys.argv[1:]))
