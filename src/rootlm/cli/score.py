"""rootlm score RUN (TEXT | FILE | FOLDER | -) [per=line|document|token]

Prints one JSON object per line, document or token: log-probability in nats, and for whole texts also tokens,
bytes and bits per byte. What names no file is taken as the text itself; `-` reads text from standard input. A
text's end is predicted too, and counted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rootlm.cli.arguments import parse
from rootlm.core.config import Config
from rootlm.layers.weight_blocks import Weights

if TYPE_CHECKING:
    from rootlm.evaluation.likelihood import Scored
    from rootlm.runs.run import Run
    from rootlm.text.document import Document


class Settings(Config):
    """What to score and how finely to tell."""

    run: str
    """A run folder."""
    text: str
    """A text, a file, a folder of files, or - for standard input."""
    per: Literal["line", "document", "token"] = "line"
    """One object for each line of a .txt file, each document (a whole .txt file, a record), or each token."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, … or mps."""
    precision: str = "float32"
    """float32, or bfloat16: faster where the hardware has it, exact to about three digits."""
    weights: Weights = "stored"
    """stored keeps their own type; int8 and int4 take a half and a quarter of bfloat16's memory."""


def run(tokens: list[str]) -> int | None:
    """Print log-probabilities as JSON lines."""
    settings, _ = parse(tokens, Settings, ["run", "text"])
    import orjson

    from rootlm.runs.opened import load

    documents = _documents(settings)
    opened = load(
        Path(settings.run), device=settings.device, precision=settings.precision, weights=settings.weights
    )
    for scored in opened.score(documents):
        entries = _tokens(scored, opened) if settings.per == "token" else [_whole(scored)]
        for entry in entries:
            sys.stdout.write(orjson.dumps(entry).decode() + "\n")
    return None


def _documents(settings: Settings) -> Iterator[Document]:
    from rootlm.evaluation.heldout import heldout
    from rootlm.text.document import Document
    from rootlm.text.raw.rawfile import suffix
    from rootlm.text.raw.reading import Reading
    from rootlm.text.readers.read import READERS

    by_line = settings.per == "line"
    if settings.text != "-" and _exists(settings.text):
        reading = Reading(documents="line" if by_line else "file", max_document_characters=None)
        yield from heldout(Path(settings.text), reading=reading)
        return
    if suffix(settings.text) in READERS and "\n" not in settings.text:
        raise ValueError(
            f"{settings.text}: no such file; give a text, a file, a folder or - (standard input)"
        )
    text, source = (sys.stdin.read(), "stdin") if settings.text == "-" else (settings.text, "text")
    if not by_line:
        yield Document(text, source)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield Document(line, f"{source}:{number}")


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        # A long text is no possible name.
        return False


def _whole(scored: Scored) -> dict[str, Any]:
    import math

    nats = float(scored.nats.sum())
    size = len(scored.document.text.encode())
    return {
        "source": scored.document.source,
        "text": scored.document.text,
        "logprob": -nats,
        "tokens": len(scored.ids),
        "bytes": size,
        "bits_per_byte": (nats / math.log(2) + 8 * scored.lost_bytes) / size if size else None,
    }


def _tokens(scored: Scored, opened: Run) -> Iterator[dict[str, Any]]:
    for place, (token, nats, rank) in enumerate(
        zip(scored.ids, scored.nats.tolist(), scored.ranks.tolist(), strict=True)
    ):
        yield {
            "source": scored.document.source,
            "place": place,
            "id": token,
            "token": opened.tokenizer.token_text(token),
            "logprob": -nats,
            "rank": rank,
        }
