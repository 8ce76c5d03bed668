"""Any finished run, opened: what Python users call `rootlm.load`."""

from __future__ import annotations

from pathlib import Path

from rootlm.runs.opened import Run
from rootlm.runs.opened import load as load_run
from rootlm.runs.opened_vectors import VectorsRun, is_vectors, open_vectors_run

__all__ = ["Run", "VectorsRun", "load"]


def load(folder: str | Path, *, device: str = "auto", precision: str = "auto") -> Run | VectorsRun:
    """Open a run folder: a model with its tokenizer, or word vectors, which lie on no device.

    The precision is bfloat16 where the hardware computes well in it, else float32. Raises ValueError naming
    the file that is missing, torn or does not fit the others.
    """
    if is_vectors(Path(folder)):
        return open_vectors_run(Path(folder))
    return load_run(folder, device=device, precision=precision)
