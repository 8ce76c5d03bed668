"""usage: rootlm vectors similarity RUN WORD WORD

Prints the cosine between two words: 1 for the same direction, about 0 for nothing in common.
"""

from __future__ import annotations

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to compare."""

    run: str
    """A run, or a file of word vectors."""
    first: str
    """A word."""
    second: str
    """Another word."""


def run(tokens: list[str]) -> None:
    """Print a cosine."""
    settings, _ = parse(tokens, Settings, ["run", "first", "second"])
    from rootlm.models.vector_queries import Queries
    from rootlm.runs.opened_vectors import vectors_of

    print(f"{Queries(vectors_of(settings.run)).similarity(settings.first, settings.second):.4f}")
