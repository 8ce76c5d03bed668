"""usage: rootlm vectors align A B pairs=FILE [out=RUN] [csls=true] [test=FILE|held_out=0.2]

Turns the vectors A into the space of B by the rotation that known pairs decide, so that translations lie near one
another; tells how often held-out words find their translation, and leaves the turned vectors as a run.
A line of FILE is `word<tab>translation`.

  rootlm vectors align runs/zh runs/en pairs=pairs.tsv out=runs/zh_in_en csls=true
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to lay over what."""

    first: str
    """The run or file that is turned."""
    second: str
    """The run or file whose space it is turned into."""
    pairs: str
    """A file of words and their translations."""
    out: str | None = None
    """The run to write."""
    test: str | None = None
    """Pairs to test on, in place of a part of `pairs`."""
    held_out: float = Field(0.2, gt=0, lt=1)
    """The share of words of `pairs` that is tested and not learned from."""
    csls: bool = False
    """Hold back words that are near to everything (Conneau et al. 2018)."""
    among: int = Field(50_000, ge=1)
    """Search the first so many words of each side."""
    seed: int = 0
    """Draws the words that are held out."""


def run(tokens: list[str]) -> None:
    """Print precision on held-out words and write the turned vectors."""
    settings, _ = parse(tokens, Settings, ["first", "second"])
    from rootlm.evaluation.word_translation import held_out, precision, read_pairs
    from rootlm.models.vector_alignment import align, known_pairs
    from rootlm.runs.opened_vectors import vectors_of

    pairs = read_pairs(Path(settings.pairs))
    first, second = vectors_of(settings.first), vectors_of(settings.second)
    learned, tested = held_out(pairs, settings.held_out, settings.seed)
    if settings.test is not None:
        learned, tested = pairs, read_pairs(Path(settings.test))
    aligned = align(first, second, learned)
    print(
        f"learned from {len(known_pairs(first, second, learned)):,} of {len(learned):,} pairs, whose words are known"
    )
    found = precision(aligned, second, tested, among=settings.among, csls=settings.csls)
    for name, value in (("precision@1", found.at_1), ("precision@5", found.at_5)):
        bounds = "" if value.low is None else f", 95 % interval {value.low:.3f} – {value.high:.3f}"
        print(f"{name} {value.value:.3f}{bounds}, {found.words:,} held-out words")
    if settings.out is not None:
        aligned.save(Path(settings.out))
        print(f"{settings.out}: {len(aligned):,} words in the space of {settings.second}")
