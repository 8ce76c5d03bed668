"""usage: rootlm vectors analogy RUN A B C [k=10] [method=add|multiply]

Prints what is to C as B is to A: `man king woman` asks for queen.

  rootlm vectors analogy runs/news 中国 北京 日本
"""

from __future__ import annotations

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config
from rootlm.models.vector_queries import Method, Queries


class Settings(Config):
    """The question."""

    run: str
    """A run, or a file of word vectors."""
    a: str
    """A word."""
    b: str
    """What belongs to it."""
    c: str
    """Another word."""
    k: int = Field(10, ge=1)
    """How many answers."""
    method: Method = "add"
    """3CosAdd (add) or 3CosMul (multiply)."""


def run(tokens: list[str]) -> None:
    """Print answers, best first."""
    settings, _ = parse(tokens, Settings, ["run", "a", "b", "c"])
    from rootlm.runs.opened_vectors import vectors_of

    queries = Queries(vectors_of(settings.run))
    for near in queries.analogy(settings.a, settings.b, settings.c, settings.k, settings.method):
        print(f"{near.word}\t{near.nearness:.4f}")
