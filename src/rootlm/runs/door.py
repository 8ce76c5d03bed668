"""Any finished run, opened: what Python users call `rootlm.load`."""

from __future__ import annotations

from pathlib import Path

from rootlm.layers.weight_blocks import Weights
from rootlm.runs.opened import load as load_run
from rootlm.runs.opened_vectors import VectorsRun, is_vectors, open_vectors_run
from rootlm.runs.run import Run

__all__ = ["Run", "VectorsRun", "load"]


def load(
    folder: str | Path, *, device: str = "auto", precision: str = "auto", weights: Weights = "stored"
) -> Run | VectorsRun:
    """Open a run folder: a model with its tokenizer, or word vectors, which lie on no device.

    The precision is bfloat16 where the hardware computes well in it, else float32. Weights in int8 or int4 take a
    half or a quarter of bfloat16's memory, and are not quite the same: `rootlm evaluate RUN weights=int8` says what
    that costs. Raises ValueError naming the file that is missing, torn or does not fit the others.
    """
    if is_vectors(Path(folder)):
        if weights != "stored":
            raise ValueError(
                f"{folder}: holds word vectors, which are read as they are stored; leave weights out"
            )
        return open_vectors_run(Path(folder))
    return load_run(folder, device=device, precision=precision, weights=weights)
