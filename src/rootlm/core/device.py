"""Where tensors live and in which precision a model computes, chosen from the hardware, with the reason."""

from __future__ import annotations

import shutil
import sysconfig
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import torch

from rootlm.core import machine

Precision = Literal["bfloat16", "float32"]
NumberType = torch.dtype
_PEAK_SIZES = (1024, 2048, 3072, 4096)
_PEAK_SECONDS = 1.2


@dataclass(frozen=True)
class Device:
    """A place to compute, the precision to compute in, and a sentence that says why."""

    torch: torch.device
    precision: Precision
    why: str

    @property
    def dtype(self) -> NumberType:
        """The precision as torch names it."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    @property
    def name(self) -> str:
        """The hardware's name: the graphics card's or the processor's."""
        if self.torch.type == "cuda":
            return torch.cuda.get_device_name(self.torch)
        return machine.processor_name()

    @property
    def card(self) -> str | None:
        """The graphics card's own identifier, by which its energy is counted; None where none computes."""
        if self.torch.type != "cuda":
            return None
        return f"GPU-{torch.cuda.get_device_properties(self.torch).uuid}"


def choose(device: str = "auto", precision: str = "auto") -> Device:
    """Choose the fastest device at hand and the precision its hardware computes well in.

    `device` is auto, cpu, cuda, cuda:1, … or mps; `precision` is auto, bfloat16 or float32. Weights stay in
    float32 either way; precision is what products are computed in. Raises ValueError for a device that is not
    there and for float16.
    """
    place = _place(device)
    fast, why = _bfloat16(place)
    if precision == "auto":
        return Device(place, "bfloat16" if fast else "float32", why)
    if precision == "float32":
        return Device(place, "float32", "float32 was asked for")
    if precision == "bfloat16":
        return Device(place, "bfloat16", "bfloat16 was asked for" + ("" if fast else f", but {why}"))
    if precision in ("float16", "fp16", "half"):
        reason = (
            "about 70 times slower than float32" if place.type == "cpu" else "prone to overflow in training"
        )
        raise ValueError(
            f"precision {precision}: float16 is {reason} on {place.type}; use bfloat16, float32 or auto"
        )
    raise ValueError(f"precision {precision}: not known; use auto, bfloat16 or float32")


def can_compile(place: Device) -> bool:
    """Tell whether torch.compile has what it needs: a C++ compiler and Python's headers, or a CUDA device."""
    if place.torch.type == "cuda":
        return True
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return place.torch.type == "cpu" and shutil.which("g++") is not None and headers.exists()


def measured_peak_flops(device: Device) -> float:
    """Return the floating-point operations per second of the best square product, 1024 to 4096 wide.

    Measured once per process, in about a second, in the device's own precision and with torch's present
    thread count. A share of this peak says how much of the machine a program uses.
    """
    return _peak_flops(device.torch, device.dtype, torch.get_num_threads())


def synchronize(device: Device) -> None:
    """Wait until the device has done all it was asked to."""
    if device.torch.type == "cuda":
        torch.cuda.synchronize(device.torch)
    elif device.torch.type == "mps":
        torch.mps.synchronize()


def _place(device: str) -> torch.device:
    if device == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(kind)
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise ValueError(f"device {device}: not known; use auto, cpu, cuda, cuda:0 or mps")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise ValueError(
                f"device {device}: torch {torch.__version__} sees no CUDA device; "
                "use device=cpu or install torch for CUDA"
            )
        if index and int(index) >= count:
            raise ValueError(f"device {device}: there are {count}, counted from 0; use cuda:{count - 1}")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {device}: torch sees no Apple graphics here; use device=cpu")
    return torch.device(device)


def _bfloat16(place: torch.device) -> tuple[bool, str]:
    """Say whether bfloat16 is fast on a device, and why."""
    if place.type == "cuda":
        major, minor = torch.cuda.get_device_capability(place)
        if major >= 8:
            return True, f"the card has bfloat16 tensor cores (capability {major}.{minor})"
        return False, f"the card has no bfloat16 tensor cores (capability {major}.{minor}, 8.0 is needed)"
    if place.type == "mps":
        return False, "bfloat16 is not dependable on Apple graphics"
    named = machine.processor_flags() & {"amx_bf16", "avx512_bf16"}
    if named:
        words = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
        return True, f"the processor multiplies bfloat16 ({', '.join(words[flag] for flag in sorted(named))})"
    return False, "the processor has neither AVX512-BF16 nor AMX, without which bfloat16 is slow"


@cache
def _peak_flops(place: torch.device, dtype: torch.dtype, threads: int) -> float:
    device = Device(place, "float32", "")
    best, started = 0.0, time.perf_counter()
    for size in _PEAK_SIZES:
        work = 2.0 * size**3
        spent = time.perf_counter() - started
        if best and spent + 2 * work / best > _PEAK_SECONDS:
            break
        left = torch.rand(size, size, device=place).to(dtype)
        right = torch.rand(size, size, device=place).to(dtype)
        best = max(best, *(work / _seconds(left, right, device) for _ in range(2)))
        while time.perf_counter() - started < spent + _PEAK_SECONDS / len(_PEAK_SIZES):
            best = max(best, work / _seconds(left, right, device))
    return best


def _seconds(left: torch.Tensor, right: torch.Tensor, device: Device) -> float:
    synchronize(device)
    started = time.perf_counter()
    torch.mm(left, right)
    synchronize(device)
    return time.perf_counter() - started
