"""Any two openings of a model, whichever library the second belongs to: a GGUF file and adapters too."""

from __future__ import annotations

from pathlib import Path

from rootlm.models.foreign import llama_cpp
from rootlm.models.foreign.hugging_face_folder import is_gguf
from rootlm.models.foreign.peft_settings import is_peft
from rootlm.runs import verified
from rootlm.runs.adapter_folders import base_folder
from rootlm.runs.gguf_verified import compare_last, tolerance_of
from rootlm.runs.llama_cpp_side import llama_cpp_side
from rootlm.runs.peft_side import peft_side
from rootlm.runs.sides import OwnSide
from rootlm.runs.verified import TOLERANCE, Verified, compare


def verify(first: Path, second: Path, *, foreign: bool, tolerance: float | None = None) -> Verified:
    """Compare two models; the first is opened by rootlm, the second by its own library where `foreign` is wanted.

    A `tolerance` of None is 0.001, and of a GGUF file what its types ask for.
    Raises ValueError for what cannot be opened.
    """
    if is_peft(second):
        side = peft_side(second, base_folder(second)) if foreign else None
        if side is None:
            raise ValueError(
                f"{second}: are adapters of PEFT's, which is not installed or not wanted; rootlm import {second} "
                "out=RUN makes a run of them"
            )
        return compare(OwnSide(first), side, tolerance=tolerance or TOLERANCE)
    if foreign and is_gguf(second) and llama_cpp.is_installed():
        with llama_cpp_side(second) as opened:
            allowed = tolerance or tolerance_of(second)
            return compare_last(OwnSide(first), opened, prompts=False, tolerance=allowed)
    return verified.verify(first, second, foreign=foreign, tolerance=tolerance or TOLERANCE)
