"""How a peer's training step is timed: warm-up, steps for some seconds, memory and peak in the same run."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.peak import peak_flops, synchronise
from benchmarks.shapes import Shape


def resident_megabytes() -> float:
    """Return the most memory this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def timed(
    step: Callable[[], None],
    shape: Shape,
    model: nn.Module,
    seconds: float,
    device: str = "cpu",
    warmup_steps: int = 8,
    peak: bool = True,
) -> dict[str, float]:
    """Return tokens per second after warm-up, the memory, and the share of the machine's peak."""
    for _ in range(warmup_steps):
        step()
    synchronise(device)
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        step()
        steps += 1
    synchronise(device)
    rate = steps * shape.tokens_per_step / (time.perf_counter() - started)
    on_gpu = device.startswith("cuda")
    memory = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else resident_megabytes()
    found = {"tokens_per_second": rate, "peak_megabytes": memory, "steps": steps}
    if peak:
        best = peak_flops(device)
        found |= {"peak_flops": best, "share_of_peak": rate * shape.flops_per_token(counted(model)) / best}
    return found


def counted(model: nn.Module) -> int:
    """Return the parameters without input embeddings; the output head counts, tied or not."""
    total = sum(parameter.numel() for parameter in model.parameters())
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    tied = any(
        module.weight is embedding.weight
        for module in model.modules()
        if isinstance(module, nn.Linear)
        for embedding in embeddings
    )
    lookups = sum(embedding.weight.numel() for embedding in embeddings)
    largest = max((embedding.weight.numel() for embedding in embeddings), default=0)
    return total - lookups + (largest if tied else 0)
