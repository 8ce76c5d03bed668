"""usage: rootlm verify A B [reader=rootlm] [tolerance=1e-3]

Opens two runs or Hugging Face folders and compares the ids of a hundred texts (English, Chinese, emoji, code,
conversations where there is a chat template) and the logits on them, in float32. The first is opened by rootlm,
the second by transformers where it is installed and the folder is its own. Fails when they differ.

  rootlm verify runs/small small-hf
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to compare."""

    first: str
    """A run or folder."""
    second: str
    """Another one."""
    reader: Literal["auto", "rootlm"] = "auto"
    """Who opens the second: auto takes transformers where that can."""
    tolerance: Annotated[float, Field(gt=0)] = 1e-3
    """By how much logits may differ, for each unit of their standard deviation (1 at least)."""


def run(tokens: list[str]) -> None:
    """Print what was found; raises ValueError where the two differ."""
    settings, _ = parse(tokens, Settings, ["first", "second"])
    from pathlib import Path

    from rootlm.runs.verified import verify

    first, second = Path(settings.first), Path(settings.second)
    found = verify(first, second, foreign=settings.reader == "auto", tolerance=settings.tolerance)
    if not found.agrees:
        raise ValueError(f"{first} and {second} are not the same: {found.sentence}")
    print(found.sentence)
