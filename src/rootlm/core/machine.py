"""What the machine lets this process use: cores and memory, cgroup limits and CPU affinity respected."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import resource
import sys
from functools import cache
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")
_NO_LIMIT = 1 << 60


def usable_cores() -> int:
    """Return how many cores this process may keep busy: its affinity, cut by the cgroup's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, min(cores, math.ceil(quota))) if quota else cores


def physical_cores() -> int:
    """Return how many usable cores have arithmetic of their own: siblings of one core count once."""
    if not hasattr(os, "sched_getaffinity"):
        return usable_cores()
    topology = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    cores = {_read(Path(topology.format(cpu))) or str(cpu) for cpu in os.sched_getaffinity(0)}
    return min(len(cores), usable_cores())


def total_memory() -> int:
    """Return the bytes of memory this process may use in all: the machine's, cut by the cgroup's limit."""
    import psutil

    return min([int(psutil.virtual_memory().total), *(limit for limit, _ in _memory_limits())])


def available_memory() -> int:
    """Return the bytes this process could still take without swapping or being killed."""
    import psutil

    left = [max(0, limit - used) for limit, used in _memory_limits()]
    return min([int(psutil.virtual_memory().available), *left])


def resident_memory() -> int:
    """Return the bytes of this process that are in memory now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_memory() -> int:
    """Return the most bytes this process ever had in memory."""
    status = _read(Path("/proc/self/status"))
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    # The kernel's usage record may hold the parent's peak on Linux; macOS counts it in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak_memory() -> None:
    """Let `peak_memory` count from now on, where the system allows it (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


@cache
def processor_flags() -> frozenset[str]:
    """Return the instruction sets the processor names, empty where the system does not list them."""
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


@cache
def processor_name() -> str:
    """Return the processor's name as a person knows it, else its architecture."""
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def _cpu_quota() -> float | None:
    quotas: list[float] = []
    for folder in _folders("cpu"):
        words = _read(folder / "cpu.max").split()
        if not words:
            words = [_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0:
            quotas.append(int(words[0]) / int(words[1]))
    return min(quotas, default=None)


def _memory_limits() -> list[tuple[int, int]]:
    """Return (limit, used) in bytes of every cgroup around this process that has a limit."""
    limits: list[tuple[int, int]] = []
    for folder in _folders("memory"):
        for limit_name, used_name, cache_key in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, used = _read(folder / limit_name).strip(), _read(folder / used_name).strip()
            if limit.isdigit() and used.isdigit() and int(limit) < _NO_LIMIT:
                # File pages that nobody has touched lately are given back on demand.
                limits.append((int(limit), max(0, int(used) - _counter(folder / "memory.stat", cache_key))))
    return limits


def _folders(controller: str) -> list[Path]:
    """Return the control groups around this process, innermost first, for cgroup versions 2 and 1."""
    found: list[Path] = []
    for line in _read(_OWN_GROUP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _CGROUPS / controllers if controllers else _CGROUPS
        inner = root / path.lstrip("/")
        found += [folder for folder in (inner, *inner.parents) if folder.is_relative_to(root)]
    return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def _counter(file: Path, key: str) -> int:
    for line in _read(file).splitlines():
        if line.startswith(f"{key} "):
            return int(line.split()[1])
    return 0


def _read(file: Path) -> str:
    """Return a small text file, empty where the system does not offer it."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
