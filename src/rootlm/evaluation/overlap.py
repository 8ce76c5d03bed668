"""How much of a reference is in what was written: BLEU and chrF of many texts, with intervals and paired tests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rootlm.evaluation.intervals import Floats, Interval

_WORD_ORDER, _LETTER_ORDER, _BETA = 4, 6, 2
_TOKENIZERS = {"zh": "zh", "ja": "char", "ko": "char"}


@dataclass(frozen=True)
class Overlap:
    """What each text has in common with its reference, so that any sample of the texts can be scored.

    `words` (texts, 10) are matches and n-grams of one to four words, then the words of text and reference;
    `letters` (texts, 18) are the n-grams of the text, of the reference and of both, of one to six letters.
    """

    words: Floats
    letters: Floats

    def bleu(self, seed: int = 0) -> Interval:
        """Return BLEU (Papineni et al. 2002) over all texts, 0 to 100, with its bootstrap interval."""
        return _interval((self.words,), _bleu, seed)

    def chrf(self, seed: int = 0) -> Interval:
        """Return chrF2 (Popović 2015) over all texts, 0 to 100, with its bootstrap interval."""
        return _interval((self.letters,), _chrf, seed)

    def bleu_above(self, other: Overlap, seed: int = 0) -> Interval:
        """Return by how much BLEU is above another system's on the same texts, in pairs (Koehn 2004)."""
        return _interval((self.words, other.words), _bleu, seed)

    def chrf_above(self, other: Overlap, seed: int = 0) -> Interval:
        """Return by how much chrF2 is above another system's on the same texts, in pairs."""
        return _interval((self.letters, other.letters), _chrf, seed)


def overlap(texts: Sequence[str], references: Sequence[str], language: str) -> Overlap:
    """Compare texts with their references, written in `language`: Chinese is cut as `zh`, others as `13a`.

    Raises ValueError when there is nothing to compare, or not as many references as texts.
    """
    if len(texts) != len(references) or not texts:
        raise ValueError(
            f"{len(texts)} texts cannot be compared with {len(references)} references; give as many"
        )
    cut = _cutter(language)
    pairs = list(zip(texts, references, strict=True))
    words = [_word_counts(cut(text.strip()).split(), cut(wanted.strip()).split()) for text, wanted in pairs]
    letters = [_letter_counts("".join(text.split()), "".join(wanted.split())) for text, wanted in pairs]
    return Overlap(np.array(words, np.float64), np.array(letters, np.float64))


def _cutter(language: str) -> Callable[[str], str]:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError:
        raise ValueError('BLEU needs an extra: pip install "rootlm[translation]"') from None
    cut: Callable[[str], str] = BLEU(tokenize=_TOKENIZERS.get(language, "13a")).tokenizer
    return cut


def _ngrams(parts: Sequence[str], size: int) -> Counter[Any]:
    return Counter(tuple(parts[place : place + size]) for place in range(len(parts) - size + 1))


def _word_counts(text: Sequence[str], reference: Sequence[str]) -> list[int]:
    matches, totals = [], []
    for size in range(1, _WORD_ORDER + 1):
        said = _ngrams(text, size)
        matches.append((said & _ngrams(reference, size)).total())
        totals.append(said.total())
    return [*matches, *totals, len(text), len(reference)]


def _letter_counts(text: str, reference: str) -> list[int]:
    said = [_ngrams(text, size) for size in range(1, _LETTER_ORDER + 1)]
    wanted = [_ngrams(reference, size) for size in range(1, _LETTER_ORDER + 1)]
    both = [(one & other).total() for one, other in zip(said, wanted, strict=True)]
    return [*(one.total() for one in said), *(one.total() for one in wanted), *both]


def _bleu(sums: Floats) -> float:
    """Return BLEU of summed counts: brevity · (∏ precision)^¼; orders without a match count ½, then ¼."""
    matches, totals = sums[:_WORD_ORDER], sums[_WORD_ORDER : 2 * _WORD_ORDER]
    said, wanted = sums[2 * _WORD_ORDER :]
    if not matches[0] or not totals.all():
        return 0.0
    smooth, logs = 1.0, 0.0
    for match, total in zip(matches, totals, strict=True):
        smooth = smooth if match else 2 * smooth
        logs += math.log(match / total if match else 1 / (smooth * total))
    brevity = 1.0 if said >= wanted else math.exp(1 - wanted / said)
    return 100 * brevity * math.exp(logs / _WORD_ORDER)


def _chrf(sums: Floats) -> float:
    """Return chrF of summed counts: F2 of the mean precision and recall of all orders that occur."""
    said, wanted, both = sums.reshape(3, _LETTER_ORDER)
    known = (said > 0) & (wanted > 0)
    if not known.any():
        return 0.0
    precision, recall = (both[known] / said[known]).mean(), (both[known] / wanted[known]).mean()
    if not precision + recall:
        return 0.0
    return float(100 * (1 + _BETA**2) * precision * recall / (_BETA**2 * precision + recall))


def _interval(
    sides: tuple[Floats, ...], figure: Callable[[Floats], float], seed: int, resamples: int = 1000
) -> Interval:
    """Return a figure, or the first side's above the second's, with what 95 % of the resamples fall into."""
    if len({len(side) for side in sides}) > 1:
        raise ValueError("two systems are compared on the same texts; give as many of each")

    def value(rows: slice | np.ndarray[Any, Any]) -> float:
        first, *others = (figure(side[rows].sum(0)) for side in sides)
        return first - sum(others)

    whole, texts = value(slice(None)), len(sides[0])
    if texts < 2:
        return Interval(whole, None, None)
    generator = np.random.default_rng(seed)
    drawn = [value(generator.integers(0, texts, texts)) for _ in range(resamples)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(whole, float(low), float(high))
