"""usage: rootlm vectors export RUN out=FILE [format=text|binary|glove|fasttext]

Writes vectors as other programs read them: word2vec's text, which is fastText's .vec too; word2vec's binary; GloVe's
text; fastText's .bin with the vectors of unseen words. RUN may be a file of another format, so that this converts.
Packed where the name of a text or binary file ends in .gz. gensim, where it is installed, opens what was written; where
it reads something else, nothing is left.

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
    from rootlm.runs.classical_exported import export_vectors
    from rootlm.runs.opened_vectors import note, vectors_of

    out = Path(settings.out)
    print(f"{out}: {export_vectors(vectors_of(settings.run), out, note, settings.format)}")
