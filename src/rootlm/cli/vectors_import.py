"""usage: rootlm vectors import FILE out=RUN

Makes a run of a file of word2vec, GloVe, fastText or gensim's KeyedVectors, which then opens at once, however large.
Every verb also takes the file itself.

  rootlm vectors import cc.zh.300.bin out=runs/cc_zh
"""

from __future__ import annotations

from pathlib import Path

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to read."""

    file: str
    """A file of word vectors."""
    out: str
    """The run to write."""


def run(tokens: list[str]) -> None:
    """Write the run and print what it holds."""
    settings, _ = parse(tokens, Settings, ["file"])
    from rootlm.runs.opened_vectors import vectors_of

    vectors = vectors_of(settings.file)
    vectors.save(Path(settings.out))
    parts = vectors.subwords
    more = f", subwords of {parts.minimum} to {parts.maximum} characters" if parts and parts.maximum else ""
    print(f"{settings.out}: {len(vectors):,} words, {vectors.size:,} numbers each{more}")
