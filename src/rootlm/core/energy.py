"""Joules used since a meter was started: counted by the hardware where it lets us, else a stated estimate."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")
WATTS_PER_CORE = 8.0
"""What a busy core draws in the estimate: a desktop processor of 65 W with 8 cores; 3 to 15 in life."""


@dataclass(frozen=True)
class Energy:
    """Joules, where the number comes from, and whether it is an estimate."""

    joules: float
    source: str
    estimated: bool


@dataclass
class _Counter:
    """A hardware counter that wraps around at `limit` microjoules."""

    file: Path
    limit: int
    last: int
    total: int = 0

    def joules(self) -> float:
        now = int(self.file.read_text())
        self.total += now - self.last if now >= self.last else now + self.limit - self.last
        self.last = now
        return self.total / 1e6


@dataclass
class Meter:
    """Counts from its making. Read it at least every half hour: the processor's counter wraps around.

    `gpu` is the card's identifier (`GPU-…`) where one computes. The processor is counted through RAPL, all of
    it, other programs included; the card through NVML. Where RAPL cannot be read, as in virtual machines, the
    processor's part is CPU seconds of this process and its ended children × `WATTS_PER_CORE`.
    """

    gpu: str | None = None
    powercap: Path = _POWERCAP
    _counters: list[_Counter] = field(init=False)
    _gpu_counter: _Nvml | None = field(init=False, default=None)
    _cpu_seconds: float = field(init=False)

    def __post_init__(self) -> None:
        self._counters = _rapl(self.powercap)
        self._gpu_counter = _Nvml.open(self.gpu) if self.gpu else None
        self._cpu_seconds = _cpu_seconds()

    def read(self) -> Energy:
        """Return what was used since the meter was made."""
        sources: list[str] = []
        if self._counters:
            joules = sum(counter.joules() for counter in self._counters)
            sources.append("processor counted by RAPL, other programs included")
        else:
            joules = (_cpu_seconds() - self._cpu_seconds) * WATTS_PER_CORE
            sources.append(f"processor estimated: CPU seconds × {WATTS_PER_CORE:g} W per busy core")
        if self._gpu_counter:
            joules += self._gpu_counter.joules()
            sources.append("graphics card counted by NVML")
        elif self.gpu:
            sources.append("graphics card not counted: it has no energy counter")
        return Energy(max(0.0, joules), "; ".join(sources), estimated=not self._counters)


def _rapl(powercap: Path) -> list[_Counter]:
    """Return the counters of every package and its memory, none when they may not be read."""
    counters: list[_Counter] = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            # A package holds its cores; memory is apart; psys holds everything a second time.
            if name.startswith("package") or name == "dram":
                limit = int((zone / "max_energy_range_uj").read_text())
                counters.append(_Counter(zone / "energy_uj", limit, int((zone / "energy_uj").read_text())))
        except (OSError, ValueError):
            return []
    return counters if any("package" in (c.file.parent / "name").read_text() for c in counters) else []


def _cpu_seconds() -> float:
    import psutil

    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


class _Nvml:
    """The total energy counter of one NVIDIA card, in millijoules since the driver was loaded."""

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p, first: int) -> None:
        self._library, self._handle, self._first = library, handle, first

    @classmethod
    def open(cls, identifier: str) -> _Nvml | None:
        """Return the card's counter, None where the driver or the card has none."""
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return None
        handle = ctypes.c_void_p()
        if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(
            identifier.encode(), ctypes.byref(handle)
        ):
            return None
        first = _millijoules(library, handle)
        return None if first is None else cls(library, handle, first)

    def joules(self) -> float:
        """Return the joules since the counter was opened."""
        now = _millijoules(self._library, self._handle)
        return 0.0 if now is None else (now - self._first) / 1000


def _millijoules(library: ctypes.CDLL, handle: ctypes.c_void_p) -> int | None:
    value = ctypes.c_ulonglong()
    failed: int = library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(value))
    return None if failed else value.value
