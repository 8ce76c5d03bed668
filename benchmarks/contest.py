"""The frame: contestants in processes of their own, pinned, in turns; medians; one JSON line per figure."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Contestant:
    """One process: its command after `python -m`, and the environment it does best in."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds_limit: float = 1200.0

    def run(self, cores: str, **extra: object) -> dict[str, Any]:
        """Run once on the given cores; returns the numbers of its last line."""
        words = [*self.command, *(f"{key}={_word(value)}" for key, value in extra.items())]
        done = subprocess.run(
            [*pinned(cores), sys.executable, "-m", *words],
            cwd=ROOT,
            env=environment(self.environment),
            capture_output=True,
            text=True,
            timeout=self.seconds_limit,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise ValueError(f"{self.name}: {' '.join(words)} gave no numbers: {last}")
        numbers: dict[str, Any] = json.loads(lines[-1])
        return numbers


def pinned(cores: str) -> list[str]:
    """Return the words that keep a command on the cores."""
    return ["taskset", "-c", cores] if cores else []


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without thread settings, the sources on the path, and `more`."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith(_THREADS)}
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**plain, "PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false", **more}


_THREADS = ("OMP_", "GOMP_", "KMP_", "MKL_", "ROOTLM_THREADS")


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Figure:
    """One measured ratio: ours, the peer's, and the goal it is held to."""

    name: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    ratio: float | None = None
    goal: str | None = None
    met: bool | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def compared(
    name: str, unit: str, value: float, peer: str, peer_value: float, goal: str | None, **detail: object
) -> Figure:
    """Return a figure whose ratio is ours over the peer's; `goal`, such as `>= 1.15`, is for the ratio."""
    ratio = value / peer_value
    met = None if goal is None else reaches(ratio, goal)
    return Figure(name, value, unit, peer, peer_value, ratio, goal, met, detail)


def reaches(value: float, goal: str) -> bool:
    """Say whether a value meets a goal.

    >>> reaches(1.2, ">= 1.15"), reaches(0.7, "<= 0.6")
    (True, False)
    """
    sign, _, bound = goal.partition(" ")
    return value >= float(bound) if sign == ">=" else value <= float(bound)


_QUIET = 0.05


class Contest:
    """Rounds of several contestants: each in turn, so that a busy minute hits all of them."""

    def __init__(self, cores: str, rounds: int, wait_seconds: float = 0.0, say: bool = True) -> None:
        self.cores = cores
        self.rounds = rounds
        self.wait_seconds = wait_seconds
        self.say = say

    def play(self, contestants: Sequence[Contestant], **extra: object) -> dict[str, list[dict[str, Any]]]:
        """Run every contestant `rounds` times in turn; the order is reversed every other round."""
        found: dict[str, list[dict[str, Any]]] = {contestant.name: [] for contestant in contestants}
        for number in range(self.rounds):
            order = contestants if number % 2 == 0 else list(reversed(contestants))
            for contestant in order:
                busy = self.quiet()
                numbers = contestant.run(self.cores, **extra)
                found[contestant.name].append(numbers | {"others_busy": busy})
                if self.say:
                    shown = ", ".join(f"{key} {value:,.4g}" for key, value in numbers.items())
                    print(
                        f"  {contestant.name}: {shown} (others kept {busy:.0%} of the cores busy)", flush=True
                    )
        return found

    def quiet(self) -> float:
        """Wait until others leave the cores alone, or the patience is spent; returns how busy they then are."""
        until = time.monotonic() + self.wait_seconds
        busy = busy_share(self.cores)
        while busy > _QUIET and time.monotonic() < until:
            time.sleep(1)
            busy = busy_share(self.cores)
        return busy

    def best_of(self, variants: Sequence[Contestant], key: str, **extra: object) -> Contestant:
        """Run every variant once and return the one with the highest number: the peer's own best settings."""
        rates: dict[str, float] = {}
        for variant in variants:
            self.quiet()
            try:
                rates[variant.name] = variant.run(self.cores, **extra)[key]
            except (ValueError, subprocess.TimeoutExpired) as error:
                print(f"  {variant.name}: left out, {error}", flush=True)
                continue
            if self.say:
                print(f"  {variant.name}: {key} {rates[variant.name]:,.4g}", flush=True)
        if not rates:
            raise ValueError(f"none of {', '.join(variant.name for variant in variants)} ran")
        return next(variant for variant in variants if variant.name == max(rates, key=rates.__getitem__))


def median(runs: Sequence[Numbers], key: str) -> float:
    """Return the median of one number over the rounds."""
    return statistics.median(run[key] for run in runs)


def spread(runs: Sequence[Numbers], key: str) -> list[float]:
    """Return the lowest and the highest of one number over the rounds."""
    values = [run[key] for run in runs]
    return [min(values), max(values)]


@contextmanager
def busy_neighbours(cores: str) -> Iterator[None]:
    """Keep one endless process on each core while the block runs."""
    loops = [
        subprocess.Popen(["taskset", "-c", core, sys.executable, "-c", "while True: pass"])
        for core in expand(cores)
    ]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def expand(cores: str) -> list[str]:
    """Return the cores of a `taskset` list.

    >>> expand("0,2-3")
    ['0', '2', '3']
    """
    found: list[str] = []
    for part in cores.split(","):
        first, _, last = part.partition("-")
        found += [str(core) for core in range(int(first), int(last or first) + 1)]
    return found


def busy_share(cores: str, seconds: float = 0.5) -> float:
    """Return how busy the cores are before we start: what others take, from 0 to 1."""
    before = _ticks(cores)
    time.sleep(seconds)
    after = _ticks(cores)
    total = after[1] - before[1]
    return (after[0] - before[0]) / total if total else 0.0


def _ticks(cores: str) -> tuple[int, int]:
    """Return (busy, all) clock ticks of the cores, from the kernel's count; zeros where there is none."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0, 0
    names = {f"cpu{core}" for core in expand(cores)} if cores else {"cpu"}
    busy = whole = 0
    for line in stat.read_text(encoding="ascii").splitlines():
        name, *numbers = line.split()
        if name in names:
            counts = [int(number) for number in numbers[:8]]
            whole += sum(counts)
            busy += sum(counts) - counts[3] - counts[4]
    return busy, whole


def write(figures: Sequence[Figure], file: Path) -> None:
    """Append one JSON line per figure."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        for figure in figures:
            stream.write(json.dumps(asdict(figure), ensure_ascii=False) + "\n")


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as aligned text."""
    rows = [("figure", "value", "unit", "peer", "its value", "ratio", "goal", "met")]
    for one in figures:
        met = {True: "yes", False: "NO", None: ""}[one.met]
        peer_value = "" if one.peer_value is None else f"{one.peer_value:,.4g}"
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        rows.append(
            (one.name, f"{one.value:,.4g}", one.unit, one.peer or "", peer_value, ratio, one.goal or "", met)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows
    )
