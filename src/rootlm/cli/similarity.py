"""rootlm similarity RUN "one text" "another" | rootlm similarity RUN pairs=FILE

Prints the cosine between the vectors of two texts; or, for a file of rated pairs, how well the cosines agree with the
ratings (Spearman's rank correlation with a 95 % interval). A line of FILE is
{"sentence1": …, "sentence2": …, "score": number}.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to compare."""

    run: str
    """A run folder of an encoder."""
    first: str | None = None
    """A text."""
    second: str | None = None
    """Another text."""
    pairs: str | None = None
    """A file of rated pairs, in place of two texts."""
    pooling: Literal["cls", "mean", "last", "max"] | None = None
    """What of a text's tokens its vector is made of; none takes what its folder says, else the mean."""
    seed: int = 0
    """Draws the resamples of the interval."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, … or mps."""


def run(tokens: list[str]) -> int | None:
    """Print how alike texts are."""
    settings, _ = parse(tokens, Settings, ["run", "first", "second"])
    if (settings.pairs is None) == (settings.first is None or settings.second is None):
        raise ValueError("give two texts, or pairs=FILE")
    from rootlm.evaluation.agreement import agreement
    from rootlm.evaluation.embeddings import read_rated
    from rootlm.runs.opened import load

    rated = None if settings.pairs is None else read_rated(Path(settings.pairs))
    opened = load(Path(settings.run), device=settings.device)
    if rated is None:
        assert settings.first is not None and settings.second is not None
        print(f"{opened.similarity(settings.first, settings.second, settings.pooling):.4f}")
        return None
    texts = [pair.first for pair in rated], [pair.second for pair in rated]
    one, other = (opened.embed(side, settings.pooling, normalised=True) for side in texts)
    cosines = (one * other).sum(1)
    found = agreement(cosines.numpy(), [pair.score for pair in rated], settings.seed)
    sys.stdout.write(
        f"Spearman {found.value:.4f}, 95 % interval {found.low:.4f} – {found.high:.4f}, {len(rated):,} pairs\n"
    )
    return None
