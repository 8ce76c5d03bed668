"""Word similarity: do the cosines of word vectors order pairs of words as people do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rootlm.evaluation.agreement import agreement
from rootlm.evaluation.intervals import Floats, Interval
from rootlm.models.vector_queries import unit
from rootlm.models.word_vectors import WordVectors

AMONG = 300_000
"""Words of the vocabulary that evaluations look at."""


class RatedWords(NamedTuple):
    """Two words and how alike people found them."""

    first: str
    second: str
    score: float


@dataclass(frozen=True)
class WordSimilarity:
    """How the cosines agree with people, on those pairs whose words are both known."""

    spearman: Interval
    known: int
    pairs: int
    cosines: Floats
    """Those of the known pairs, in the order of the file."""
    scores: Floats
    """What people said of them."""

    @property
    def unknown(self) -> float:
        """The share of pairs with a word that is not in the vocabulary."""
        return 1 - self.known / self.pairs


def read_rated_words(file: Path) -> list[RatedWords]:
    """Read lines of two words and a number, apart by tabs, commas or spaces; `#` begins a comment.

    A first line without a number is a heading. Raises ValueError naming any other line that is none of these.
    """
    found: list[RatedWords] = []
    for number, line in enumerate(lines_of(file), 1):
        if not line.strip() or line.startswith("#"):
            continue
        gap = next((mark for mark in ("\t", ",") if mark in line), None)
        parts = [part.strip() for part in line.split(gap)]
        try:
            first, second, score = parts[0], parts[1], float(parts[2])
        except (IndexError, ValueError):
            if found or number > 1:
                raise ValueError(
                    f"{file}:{number}: is not two words and a number; write `word<tab>word<tab>7.5`"
                ) from None
            continue
        found.append(RatedWords(first, second, score))
    if not found:
        raise ValueError(f"{file}: holds no pairs; write `word<tab>word<tab>7.5` lines")
    return found


def lines_of(file: Path) -> list[str]:
    """Return the lines of a text file; raises ValueError naming it when it cannot be read as UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: cannot be read ({error}); give a text file in UTF-8") from error


def rows_by_case(vectors: WordVectors, among: int = AMONG) -> dict[str, int]:
    """Return the row of each word whatever its case; of several, the first, which is the most frequent."""
    rows: dict[str, int] = {}
    for row in range(min(among, len(vectors))):
        rows.setdefault(vectors.words[row].upper(), row)
    return rows


def word_similarity(vectors: WordVectors, file: Path, *, among: int = AMONG, seed: int = 0) -> WordSimilarity:
    """Return how well vectors agree with a file of rated pairs; raises ValueError when all its words are unknown."""
    pairs = read_rated_words(file)
    known = rows_by_case(vectors, among)
    rows = np.array([[known.get(word.upper(), -1) for word in (pair.first, pair.second)] for pair in pairs])
    both = (rows >= 0).all(1)
    if both.sum() < 2:
        raise ValueError(
            f"{file}: {int(both.sum())} of {len(pairs):,} pairs have both words in the vocabulary of {len(vectors):,}, "
            "so nothing can be said; give pairs in the language of the vectors"
        )
    one, other = (unit(vectors.matrix[rows[both, side]]) for side in (0, 1))
    cosines = (one.astype(np.float64) * other).sum(1)
    scores = np.array([pair.score for pair in pairs])[both]
    try:
        spearman = agreement(cosines, scores, seed)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return WordSimilarity(spearman, int(both.sum()), len(pairs), cosines, scores)
