"""usage: rootlm vectors evaluate RUN [similarity=FILE…] [analogies=FILE…] [method=add|multiply] [json=true]

Tells how well cosines order pairs of words as people did (Spearman's rank correlation), and how many analogies are
solved, by section; each with a 95 % interval and the share of questions whose words are known. A similarity FILE has
lines of `word<tab>word<tab>number`; an analogies FILE has lines of four words under `: section` lines.

  rootlm vectors evaluate runs/news similarity=[wordsim353.tsv,simlex999.txt] analogies=questions-words.txt
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config
from rootlm.models.vector_queries import Method


class Settings(Config):
    """What to ask."""

    run: str
    """A run, or a file of word vectors."""
    similarity: str | list[str] = Field(default_factory=list)
    """Files of rated pairs."""
    analogies: str | list[str] = Field(default_factory=list)
    """Files of analogies."""
    method: Method = "add"
    """3CosAdd (add) or 3CosMul (multiply)."""
    among: int = Field(300_000, ge=1)
    """Look at the first so many words alone."""
    json: bool = False  # type: ignore[assignment]
    """Print one JSON object in place of tables."""
    seed: int = 0
    """Draws the resamples of intervals."""


def run(tokens: list[str]) -> None:
    """Print a table for each file."""
    settings, _ = parse(tokens, Settings, ["run"])
    if not settings.similarity and not settings.analogies:
        raise ValueError("nothing is asked; give similarity=FILE or analogies=FILE")
    from rootlm.evaluation.analogies import analogies, as_rows
    from rootlm.evaluation.word_similarity import word_similarity
    from rootlm.runs.opened_vectors import vectors_of

    vectors = vectors_of(settings.run)
    similar = {
        file: word_similarity(vectors, Path(file), among=settings.among, seed=settings.seed)
        for file in _listed(settings.similarity)
    }
    solved = {
        file: as_rows(analogies(vectors, Path(file), method=settings.method, among=settings.among))
        for file in _listed(settings.analogies)
    }
    rows = {
        file: {
            "spearman": found.spearman.value,
            "interval": [found.spearman.low, found.spearman.high],
            "known": found.known,
            "pairs": found.pairs,
        }
        for file, found in similar.items()
    }
    if settings.json:
        import orjson

        print(orjson.dumps({"similarity": rows, "analogies": solved}).decode())
        return
    for file, row in rows.items():
        _say(Path(file).name, "Spearman", row, ("spearman", "known", "pairs"))
    for file, sections in solved.items():
        print(f"{Path(file).name}:")
        for section in sections:
            _say(f"  {section['section']}", "accuracy", section, ("accuracy", "known", "questions"))


def _listed(files: str | list[str]) -> list[str]:
    return [files] if isinstance(files, str) else files


def _say(name: str, what: str, row: Mapping[str, object], keys: tuple[str, str, str]) -> None:
    value, known, asked = (row[key] for key in keys)
    low_high = row["interval"]
    sure = ""
    if isinstance(low_high, list) and low_high[0] is not None:
        sure = f" ({low_high[0]:.3f} – {low_high[1]:.3f})"
    assert isinstance(known, int) and isinstance(asked, int)
    said = "—" if not isinstance(value, float) else f"{value:.3f}"
    print(f"{name:<32} {what} {said}{sure}, {known:,} of {asked:,} {keys[2]} known ({known / asked:.1%})")
