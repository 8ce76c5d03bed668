"""usage: rootlm verify A B [reader=rootlm] [tolerance=1e-3]

Opens two models (runs, Hugging Face folders, GGUF files; B may be a folder of PEFT's) and compares the ids of a hundred
texts (English, Chinese, emoji, code, conversations where there is a chat template) and the logits on them, in float32.
The first is opened by rootlm, the second by its own library where that is installed: transformers, llama.cpp, PEFT.
Fails when they differ.

  rootlm verify runs/small small-hf
  rootlm verify runs/small small-gguf/small-gguf-F16.gguf
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to compare."""

    first: str
    """A run, folder or file."""
    second: str
    """Another one."""
    reader: Literal["auto", "rootlm"] = "auto"
    """Who opens the second: auto takes its own library where that is installed."""
    tolerance: Annotated[float, Field(gt=0)] | None = None
    """By how much logits may differ, for each unit of their standard deviation (1 at least); none is 0.001, and of a
    GGUF file what its types ask for: 0.02 of F16, 0.15 of BF16, 0.25 of smaller ones."""


def run(tokens: list[str]) -> None:
    """Print what was found; raises ValueError where the two differ."""
    settings, _ = parse(tokens, Settings, ["first", "second"])
    from pathlib import Path

    from rootlm.runs.verified_elsewhere import verify

    first, second = Path(settings.first), Path(settings.second)
    found = verify(first, second, foreign=settings.reader == "auto", tolerance=settings.tolerance)
    if not found.agrees:
        raise ValueError(f"{first} and {second} are not the same: {found.sentence}")
    print(found.sentence)
