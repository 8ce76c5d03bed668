"""rootlm fill RUN "text with <mask>" [k=5] [json=true]

Prints the likeliest tokens for each <mask>, with their probabilities; what the tokenizer itself writes, such as [MASK],
is one as well. RUN holds an encoder (model.kind=encoder), or is a Hugging Face folder of one.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to fill."""

    run: str
    """A run folder of an encoder."""
    text: str
    """A text in which <mask> stands for each token that is missing."""
    k: int = Field(5, ge=1)
    """How many fillings to show."""
    json: bool = False  # type: ignore[assignment]
    """Print one JSON object instead of a table."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, … or mps."""


def run(tokens: list[str]) -> int | None:
    """Print the likeliest fillings."""
    settings, _ = parse(tokens, Settings, ["run", "text"])
    from rootlm.runs.opened import load

    found = load(Path(settings.run), device=settings.device).fill(settings.text, settings.k)
    if settings.json:
        import orjson

        plain = {"text": settings.text, "gaps": [[asdict(one) for one in gap] for gap in found]}
        sys.stdout.write(orjson.dumps(plain).decode() + "\n")
        return None
    from rich.cells import cell_len

    for number, gap in enumerate(found, 1):
        print(f"gap {number}")
        width = max(cell_len(one.text) for one in gap)
        for one in gap:
            print(f"  {one.text}{' ' * (width - cell_len(one.text))}  {one.probability:6.1%}")
    return None
