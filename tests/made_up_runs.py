"""Records of runs that never were, for tests of what is made from records."""

from __future__ import annotations

import math
import random

from rootlm.core.records import Record


def run_records(seed: int = 0, scale: float = 1.0, rate: float = 1e-3, steps: int = 400) -> list[Record]:
    """Return the records of a made-up run whose loss falls as losses do."""
    noise = random.Random(seed)
    records: list[Record] = [
        {"kind": "start", "parameters": 6_332_416, "device": "a processor", "threads": 2, "seed": seed}
    ]
    for step in range(1, steps + 1):
        loss = scale * (2.5 + 5 * math.exp(-step / 60)) + noise.gauss(0, 0.01)
        shared = {"step": step, "tokens": step * 1024, "seconds": step * 0.1}
        if step % 5 == 0:
            records.append(
                {"kind": "train", **shared, "loss": loss, "bits_per_byte": loss * 0.6, "learning_rate": rate,
                 "gradient_norm": 0.5, "tokens_per_second": 10_240.0, "peak_share": 0.4}
            )  # fmt: skip
        if step % 50 == 0:
            records.append(
                {"kind": "validation", **shared, "loss": loss, "bits_per_byte": loss * 0.6, "accuracy": 0.3}
            )
            records.append({"kind": "sample", "step": step, "prompt": "床前", "text": f"床前明月光{step}"})
    return [
        *records,
        {"kind": "end", "seconds": steps * 0.1, "energy_joules": 7200.0, "energy_source": "estimated: why"},
    ]
