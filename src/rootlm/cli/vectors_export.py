"""usage: rootlm vectors export RUN out=FILE [format=text|binary|glove|fasttext]

Writes vectors as other programs read them: word2vec's text, which is fastText's .vec too; word2vec's binary; GloVe's
text; fastText's .bin with the vectors of unseen words. RUN may be a file of another format, so that this converts.
Packed where the name of a text or binary file ends in .gz.

  rootlm vectors export runs/news out=news.vec
  rootlm vectors export glove.6B.100d.txt out=glove.bin format=binary
"""

from __future__ import annotations

from pathlib import Path

from rootlm.cli.arguments import parse
from rootlm.core.config import Config
from rootlm.models.vector_files import Format


class Settings(Config):
    """What to write."""

    run: str
    """A run, or a file of word vectors."""
    out: str
    """The file to write."""
    format: Format | None = None
    """What to write; none takes what the name says: .vec and .txt text, .bin fasttext with subwords or labels,
    else binary."""


def run(tokens: list[str]) -> None:
    """Write the file and print what it holds."""
    settings, _ = parse(tokens, Settings, ["run"])
    from rootlm.models.vector_files import write_vectors
    from rootlm.runs.opened_vectors import note, vectors_of

    vectors, out = vectors_of(settings.run), Path(settings.out)
    for odd in write_vectors(vectors, out, settings.format):
        note(f"{out}: {odd}")
    print(f"{out}: {len(vectors):,} words, {vectors.size:,} numbers each")
