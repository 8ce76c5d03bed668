"""usage: rootlm vectors doesnt-match RUN WORD WORD WORD…

Prints the word that fits the others least, then all words by how near each is to their mean.

  rootlm vectors doesnt-match runs/news breakfast cereal dinner lunch
"""

from __future__ import annotations

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """The words."""

    run: str
    """A run, or a file of word vectors."""
    words: list[str]
    """Three words or more."""


def run(tokens: list[str]) -> None:
    """Print the odd one, then all."""
    settings, _ = parse(tokens, Settings, ["run", "words*"])
    from rootlm.models.vector_queries import Queries
    from rootlm.runs.opened_vectors import vectors_of

    ordered = Queries(vectors_of(settings.run)).doesnt_match(settings.words)
    print(ordered[0].word)
    print("  ".join(f"{near.word} {near.nearness:.3f}" for near in ordered))
