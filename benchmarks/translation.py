"""Two dictionaries made from pairs alone, word by word: what a translator must be far better than."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np

from rootlm.evaluation.overlap import overlap
from rootlm.text.corpus import Corpus
from rootlm.text.raw.parallel import sides_of
from rootlm.text.words.segment import Segment

_ROUNDS = 8
_NULL = ""


Texts = list[list[str]]
Translate = Callable[[list[str]], list[str]]


def plain(sources: Texts, targets: Texts) -> Translate:
    """Return the dictionary a person writes first: for each word the one that most often stands beside it.

    The measure is Dice's: twice the pairs that hold both words, over the pairs that hold one and those that hold the
    other. A word that no pair has taught stays as it is.
    """
    read, written = ([set(text) for text in texts] for texts in (sources, targets))
    of_source = Counter(word for text in read for word in text)
    of_target = Counter(word for text in written for word in text)
    together: Counter[tuple[str, str]] = Counter()
    for source, target in zip(read, written, strict=True):
        together.update(product(source, target))
    best: dict[str, tuple[float, str]] = {}
    for (word, other), pairs in together.items():
        best[word] = max(best.get(word, (0.0, "")), (2 * pairs / (of_source[word] + of_target[other]), other))
    return lambda words: [best[word][1] if word in best else word for word in words]


class Dictionary:
    """The likeliest word for each word, by expectation–maximisation over all pairs (Brown et al. 1993)."""

    def __init__(self, sources: Texts, targets: Texts) -> None:
        self._cut = {
            word: number for number, word in enumerate(sorted({w for text in sources for w in text}), 1)
        }
        self._cut[_NULL] = 0
        self.words = sorted({word for text in targets for word in text})
        known = {word: number for number, word in enumerate(self.words)}
        read, written, places, place = [], [], [], 0
        for source, target in zip(sources, targets, strict=True):
            numbers = [0, *(self._cut[word] for word in source)]
            for word in target:
                read += numbers
                written += [known[word]] * len(numbers)
                places += [place] * len(numbers)
                place += 1
        keys = np.array(read, np.int64) * len(self.words) + np.array(written, np.int64)
        links, which = np.unique(keys, return_inverse=True)
        self._read, self._written = links // len(self.words), links % len(self.words)
        place_of = np.array(places)
        chances = np.ones(len(links))
        for _ in range(_ROUNDS):
            share = chances[which] / np.bincount(place_of, chances[which])[place_of]
            counts = np.bincount(which, share, len(links))
            chances = counts / np.bincount(self._read, counts)[self._read]
        order = np.lexsort((chances, self._read))
        last = np.append(np.flatnonzero(np.diff(self._read[order])), len(order) - 1)
        self.best = {int(self._read[order[end]]): self.words[self._written[order[end]]] for end in last}

    def __call__(self, words: list[str]) -> list[str]:
        """Return a word for each word; one that no pair has taught stays as it is."""
        return [self.best[self._cut[word]] if word in self._cut else word for word in words]


def main() -> None:
    """Print BLEU and chrF of the dictionaries on the test split of a corpus of pairs, in both directions."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.translation", description=main.__doc__)
    parser.add_argument("corpus", type=Path)
    corpus = Corpus.open(parser.parse_args().corpus)
    segmenter = Segment().build()

    def words(text: str) -> list[str]:
        return [piece for piece in segmenter.pieces(text) if piece.strip()]

    splits = {split: [sides_of(one) for one in corpus.documents(split)] for split in ("train", "test")}
    names = list(splits["test"][0])
    for source, target in (names, names[::-1]):
        cut = [[words(pair[name]) for pair in splits["train"]] for name in (source, target)]
        between = "" if target == "zh" else " "
        dictionaries: dict[str, Translate] = {"plain": plain(*cut), "model 1": Dictionary(*cut)}
        for name, dictionary in dictionaries.items():
            texts = [between.join(dictionary(words(pair[source]))) for pair in splits["test"]]
            found = overlap(texts, [pair[target] for pair in splits["test"]], target)
            bleu, chrf = found.bleu(), found.chrf()
            figures = {"bleu": bleu.value, "bleu_interval": [bleu.low, bleu.high], "chrf": chrf.value}
            told = {"dictionary": name, "direction": [source, target], **figures, "example": texts[0]}
            print(json.dumps(told, ensure_ascii=False))


if __name__ == "__main__":
    main()
