"""usage: rootlm export RUN --to hf|arpa|word2vec out=PATH [dtype=bfloat16] [shard_bytes=5000000000]

Writes a run as other libraries read it. `hf` is a folder that transformers opens: it is opened again, by transformers
where that is installed, and the ids of a hundred texts and the logits on them are compared with the run's; if they
differ, nothing is left and the verb fails. `arpa` writes n-grams, `word2vec` word vectors (the text format, or
the binary one where PATH ends in .bin); `rootlm ngram arpa` and `rootlm vectors export` can do more.

  rootlm export runs/small --to hf out=small-hf
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to write, and how."""

    run: str
    """A run."""
    to: Literal["hf", "arpa", "word2vec"]
    """The format."""
    out: str
    """The folder or file to write."""
    dtype: Literal["keep", "float32", "bfloat16", "float16"] = "keep"
    """hf: the type of the weights; keep leaves them as they are."""
    shard_bytes: Annotated[int, Field(ge=1)] = 5_000_000_000
    """hf: the most bytes of weights in one file."""


def run(tokens: list[str]) -> None:
    """Write it and print what was compared."""
    settings, _ = parse(tokens, Settings, ["run"])
    {"hf": _hf, "arpa": _arpa, "word2vec": _word2vec}[settings.to](settings)


def _hf(settings: Settings) -> None:
    import torch

    from rootlm.runs.exported import export_hf

    dtype = None if settings.dtype == "keep" else getattr(torch, settings.dtype)
    out = Path(settings.out)
    found = export_hf(Path(settings.run), out, dtype=dtype, shard_bytes=settings.shard_bytes)
    print(f"{out}: {found.sentence}")


def _arpa(settings: Settings) -> None:
    from rootlm.runs.arpa_writing import export_arpa
    from rootlm.runs.opened import load

    sizes = export_arpa(load(Path(settings.run)), Path(settings.out))
    print(f"{settings.out}: " + ", ".join(f"{size:,} {order}-grams" for order, size in enumerate(sizes, 1)))


def _word2vec(settings: Settings) -> None:
    from rootlm.models.vector_files import write_vectors
    from rootlm.runs.opened_vectors import note, vectors_of

    vectors, out = vectors_of(settings.run), Path(settings.out)
    for odd in write_vectors(vectors, out, "binary" if out.suffix == ".bin" else "text"):
        note(f"{out}: {odd}")
    print(f"{out}: {len(vectors):,} words, {vectors.size:,} numbers each")
