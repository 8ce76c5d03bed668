"""How many CPU threads, and how they wait for each other; settled before torch is imported.

The threads of one product meet at a barrier, thousands of times a second. GNU's OpenMP, which torch's Linux
wheel brings, lets a thread that arrives first spin 300,000 times, some milliseconds, before it sleeps. Where
another process wants a core, the thread that all wait for is not running and the others burn its time:
everything becomes many times slower. A bounded spin keeps short waits short and gives the core away in long
ones. `GOMP_SPINCOUNT` holds whatever `OMP_WAIT_POLICY` says, so the count alone is set.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from rootlm.core import machine

SPINS = 1000
"""Some tens of microseconds: longer than most barriers last, shorter than putting a thread to sleep twice."""

_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_WHY = "ROOTLM_THREADS"

_LONG = ("train", "quickstart")
_LOOK_SECONDS = 0.1


def settle(verb: str) -> None:
    """Set the OpenMP environment for a verb; what the person has set stays.

    Does nothing when torch is already there, since its threads have then been told.
    """
    if "torch" in sys.modules or _WHY in os.environ:
        return
    reasons = [_settle_waiting(), _settle_count(verb)]
    # Children inherit the settings, so they inherit the reasons too.
    os.environ[_WHY] = "; ".join(reasons)


def why() -> str:
    """Return a sentence on thread count and waiting, as settled."""
    if _WHY in os.environ:
        return os.environ[_WHY]
    set_here = [f"{name}={os.environ[name]}" for name in ("OMP_NUM_THREADS", *_WAITING) if name in os.environ]
    return (
        f"not settled by rootlm: torch was imported before it; {', '.join(set_here) or 'its defaults hold'}"
    )


def best_count(cores: int, busy: float) -> int:
    """Return the threads to use on `cores` cores of which others keep `busy` busy.

    Work is split evenly, so one shared core holds up all. A few busy cores are left alone; where half or more
    are busy, taking a fair share of each is better.

    >>> best_count(8, 0.3), best_count(8, 2.2), best_count(8, 5.0), best_count(2, 1.0)
    (8, 6, 8, 2)
    """
    taken = int(busy + 0.5)
    return cores - taken if taken < cores / 2 else cores


def _settle_waiting() -> str:
    theirs = [name for name in _WAITING if name in os.environ]
    if theirs:
        return f"waiting as you set it ({', '.join(f'{name}={os.environ[name]}' for name in theirs)})"
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    # LLVM's OpenMP, on macOS, counts milliseconds and spins 200 of them unless told.
    os.environ["KMP_BLOCKTIME"] = "1"
    return (
        f"a waiting thread spins {SPINS:,} times, then sleeps: a busy neighbour costs its share and no more"
    )


def _settle_count(verb: str) -> str:
    if "OMP_NUM_THREADS" in os.environ:
        return f"{os.environ['OMP_NUM_THREADS']} threads as you set it (OMP_NUM_THREADS)"
    cores = machine.physical_cores()
    busy = busy_cores() if verb in _LONG else 0.0
    count = best_count(cores, busy)
    os.environ["OMP_NUM_THREADS"] = str(count)
    if count < cores:
        return f"{count} threads: {cores - count} of {cores} cores are busy with other work"
    return f"{count} thread{'s' if count > 1 else ''}, one per core this process may use"


def busy_cores() -> float:
    """Return how many usable cores other processes have kept busy, both just now and over the last minute.

    Only what is true at both scales counts: neither a burst nor a program that has just ended.
    """
    if not hasattr(os, "sched_getaffinity"):
        return 0.0
    cores = os.sched_getaffinity(0)
    before, started = _busy_seconds(cores), time.monotonic()
    time.sleep(_LOOK_SECONDS)
    now = (_busy_seconds(cores) - before) / (time.monotonic() - started)
    return max(0.0, min(now, os.getloadavg()[0]))


def _busy_seconds(cores: set[int]) -> float:
    """Return the seconds the cores have been busy since the machine started."""
    busy = 0
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    for line in lines:
        name, *fields = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, _, _, interrupts, soft, *_ = map(int, fields)
            busy += user + nice + system + interrupts + soft
    return busy / os.sysconf("SC_CLK_TCK")
