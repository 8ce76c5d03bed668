"""usage: rootlm vectors neighbours RUN WORD… [k=10]

Prints the words of the largest cosine for each word. RUN is a run of rootlm vectors train, a model's run, or a file of
word2vec, GloVe or fastText.

  rootlm vectors neighbours runs/news 北京 经济 k=5
"""

from __future__ import annotations

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to look up."""

    run: str
    """A run, or a file of word vectors."""
    words: list[str]
    """Words to look up."""
    k: int = Field(10, ge=1)
    """How many neighbours of each."""


def run(tokens: list[str]) -> None:
    """Print neighbours, nearest first."""
    settings, _ = parse(tokens, Settings, ["run", "words*"])
    from rootlm.models.vector_queries import Queries
    from rootlm.runs.opened_vectors import vectors_of

    found = Queries(vectors_of(settings.run)).neighbours(settings.words, settings.k)
    for word, nearest in zip(settings.words, found, strict=True):
        print(f"{word}\t" + "  ".join(f"{near.word} {near.nearness:.3f}" for near in nearest))
