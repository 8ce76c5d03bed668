"""Word translation: how often a held-out word's translation is among its nearest in the other language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rootlm.evaluation.intervals import Interval, ratio
from rootlm.evaluation.word_similarity import lines_of
from rootlm.models.vector_alignment import Pair, Translations, known_pairs
from rootlm.models.word_vectors import WordVectors


@dataclass(frozen=True)
class Precision:
    """The share of words that had a right translation among the first one and the first five."""

    at_1: Interval
    at_5: Interval
    words: int
    """Words asked, each once; one with several translations has any of them right."""
    pairs: int
    """Held-out pairs, those with an unknown word too."""


def read_pairs(file: Path) -> list[Pair]:
    """Read lines of a word and its translation, apart by a tab or a space; raises ValueError naming any other line."""
    found: list[Pair] = []
    for number, line in enumerate(lines_of(file), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("\t" if "\t" in line else None)]
        if len(parts) != 2 or not all(parts):
            raise ValueError(
                f"{file}:{number}: is not a word and its translation; write `word<tab>translation`"
            )
        found.append((parts[0], parts[1]))
    if not found:
        raise ValueError(f"{file}: holds no pairs; write `word<tab>translation` lines")
    return found


def held_out(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Return pairs to learn from and pairs to test on; all pairs of one word are on one side.

    >>> learn, test = held_out([("a", "1"), ("a", "2"), ("b", "3")], 0.5, seed=0)
    >>> {one for one, _ in learn} & {one for one, _ in test}
    set()
    """
    words = sorted({one for one, _ in pairs})
    chosen = np.random.default_rng(seed).permutation(len(words))[: round(len(words) * share)]
    tested = {words[place] for place in chosen}
    return [pair for pair in pairs if pair[0] not in tested], [pair for pair in pairs if pair[0] in tested]


def precision(
    aligned: WordVectors,
    other: WordVectors,
    pairs: Sequence[Pair],
    *,
    among: int = 50_000,
    csls: bool = False,
) -> Precision:
    """Return how often translations are found; raises ValueError where no pair has both words known."""
    rows = known_pairs(aligned, other, pairs)
    if not len(rows):
        raise ValueError(
            f"none of the {len(pairs):,} held-out pairs has both words among the vectors; give more pairs"
        )
    right: dict[int, set[int]] = {}
    for one, translation in rows.tolist():
        right.setdefault(one, set()).add(translation)
    words = np.array(list(right), np.int64)
    answers = Translations(aligned, other, among=among, csls=csls).of(words, 5)
    hits = np.array(
        [
            [answer in right[word] for answer in row]
            for word, row in zip(words.tolist(), answers.tolist(), strict=True)
        ]
    )
    ones = np.ones(len(words))
    return Precision(ratio(hits[:, 0], ones), ratio(hits.any(1), ones), len(words), len(pairs))
