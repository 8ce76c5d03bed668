"""A dictionary made from pairs alone (IBM model 1), word by word: what a translator must be far better than."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from rootlm.evaluation.overlap import overlap
from rootlm.text.corpus import Corpus
from rootlm.text.raw.parallel import sides_of
from rootlm.text.words.segment import Segment

_ROUNDS = 8
_NULL = ""


class Dictionary:
    """The likeliest word for each word, by expectation–maximisation over all pairs (Brown et al. 1993)."""

    def __init__(self, sources: list[list[str]], targets: list[list[str]]) -> None:
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
    """Print BLEU and chrF of the dictionary on the test split of a corpus of pairs, in both directions."""
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
        dictionary = Dictionary(*cut)
        between = "" if target == "zh" else " "
        texts = [between.join(dictionary(words(pair[source]))) for pair in splits["test"]]
        found = overlap(texts, [pair[target] for pair in splits["test"]], target)
        bleu, chrf = found.bleu(), found.chrf()
        figures = {"bleu": bleu.value, "bleu_interval": [bleu.low, bleu.high], "chrf": chrf.value}
        print(json.dumps({"direction": [source, target], **figures, "example": texts[0]}, ensure_ascii=False))


if __name__ == "__main__":
    main()
