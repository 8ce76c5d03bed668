"""How varied a model's texts are: distinct n-grams, likeness to one another, repetition within a text.

All three are counted in units that no tokenizer decides: a Han character, a run of other letters and digits, or a
single mark. They fall or rise with the length of what is counted, so compare only texts cut to one length (`cut`).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_UNIT = re.compile(
    r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[^\W_\u3400-\u9fff\uf900-\ufaff]+|[^\w\s]|_"
)
_ORDERS = 4
_NOTHING = 0.1

Units = Sequence[str]


@dataclass(frozen=True)
class Diversity:
    """Shares between 0 and 1, for the texts of one model."""

    distinct: tuple[float, float, float]
    """Distinct-1, -2 and -3: higher is more varied."""
    self_bleu: float
    """How alike the texts are; lower is more varied."""
    repetition: float
    """How much of a text repeats itself; lower is more varied."""
    units: float
    """The mean length of a text, in units."""


def diversity(texts: Sequence[str], most: int = 50) -> Diversity:
    """Measure texts by one model, each cut to its first `most` units; raises ValueError when there is none."""
    if not texts:
        raise ValueError("there are no texts, so there is no diversity; ask for at least one sample")
    cut_texts = [cut(text, most) for text in texts]
    one, two, three = (distinct(cut_texts, order) for order in (1, 2, 3))
    length = sum(map(len, cut_texts)) / len(cut_texts)
    return Diversity((one, two, three), self_bleu(cut_texts), repetition(cut_texts), length)


def cut(text: str, most: int) -> list[str]:
    """Return the first units of a text.

    >>> cut("To be, 床前 3.5", 7)
    ['To', 'be', ',', '床', '前', '3', '.']
    """
    return _UNIT.findall(text)[:most]


def distinct(texts: Sequence[Units], order: int) -> float:
    """Return distinct n-grams ÷ n-grams, over all texts together (Li et al. 2016, "A Diversity-Promoting Objective
    Function for Neural Conversation Models"); 0 where there is none.

    >>> distinct([["a", "a", "b", "a"]], 2), distinct([["a"] * 100], 1)
    (1.0, 0.01)
    """
    grams = [gram for text in texts for gram in _grams(text, order)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repetition(texts: Sequence[Units], order: int = 4) -> float:
    """Return 1 − distinct n-grams ÷ n-grams of each text by itself, averaged (seq-rep-4 of Welleck et al. 2020,
    "Neural Text Generation with Unlikelihood Training"); a text shorter than an n-gram repeats nothing.

    >>> repetition([["a", "b", "c", "d", "e"]]), repetition([["a"] * 13])
    (0.0, 0.9)
    """
    shares = [1 - len(set(grams)) / len(grams) for text in texts if (grams := list(_grams(text, order)))]
    return sum(shares) / len(texts) if texts else 0.0


def self_bleu(texts: Sequence[Units]) -> float:
    """Return the mean BLEU-4 of every text against all others (Zhu et al. 2018, "Texygen"); a lone text is like none.

    >>> self_bleu([["a", "b", "c", "d", "e"]] * 3)
    1.0
    """
    if len(texts) < 2:
        return 0.0
    counted = [[Counter(_grams(text, order)) for order in range(1, _ORDERS + 1)] for text in texts]
    best = [_two_highest([counts[order] for counts in counted]) for order in range(_ORDERS)]
    scores = [_bleu(number, texts, counted[number], best) for number in range(len(texts))]
    return sum(scores) / len(scores)


Highest = dict[tuple[str, ...], tuple[int, int, int]]
"""For an n-gram: its highest count in a text, which text that is, and its highest count in any other."""


def _two_highest(counts: Sequence[Counter[tuple[str, ...]]]) -> Highest:
    found: Highest = {}
    for number, counter in enumerate(counts):
        for gram, count in counter.items():
            most, owner, second = found.get(gram, (0, -1, 0))
            found[gram] = (count, number, most) if count > most else (most, owner, max(second, count))
    return found


def _bleu(
    number: int, texts: Sequence[Units], own: Sequence[Counter[tuple[str, ...]]], best: Sequence[Highest]
) -> float:
    """Return BLEU of one text against the others (Papineni et al. 2002).

    It is exp(mean ln p_n) · min(1, exp(1 − r ÷ c)), p_n being the share of n-grams that another text has as often,
    c this text's length and r the nearest length of another. A p_n without a single hit counts a tenth of one
    (the first smoothing of Chen and Cherry 2014), as Texygen has it.
    """
    length = len(texts[number])
    logs = 0.0
    for order, (counts, highest) in enumerate(zip(own, best, strict=True), 1):
        hits = 0
        for gram, count in counts.items():
            most, owner, second = highest[gram]
            hits += min(count, second if owner == number else most)
        if not hits and order == 1:
            return 0.0
        logs += math.log((hits or _NOTHING) / max(1, length - order + 1)) / _ORDERS
    others = (len(text) for place, text in enumerate(texts) if place != number)
    nearest = min(others, key=lambda other: (abs(other - length), other))
    return math.exp(logs + min(0.0, 1 - nearest / length))


def _grams(text: Units, order: int) -> Iterator[tuple[str, ...]]:
    return (tuple(text[place : place + order]) for place in range(len(text) - order + 1))
