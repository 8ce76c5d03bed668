"""What the machine can do at best: the fastest bfloat16 square product from 1024 to 4096."""

from __future__ import annotations

import time

import torch

SIZES = (1024, 1536, 2048, 3072, 4096)


def peak_flops(device: str = "cpu", seconds: float = 0.6) -> float:
    """Return the best FLOP/s over the sizes; each is repeated for about `seconds`."""
    return max(_flops(size, device, seconds) for size in SIZES)


def _flops(size: int, device: str, seconds: float) -> float:
    left = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    right = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    for _ in range(2):
        left @ right
    synchronise(device)
    best, started = float("inf"), time.perf_counter()
    while time.perf_counter() - started < seconds:
        at = time.perf_counter()
        left @ right
        synchronise(device)
        best = min(best, time.perf_counter() - at)
    return 2 * size**3 / best


def synchronise(device: str) -> None:
    """Wait until the device has done what it was asked."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
