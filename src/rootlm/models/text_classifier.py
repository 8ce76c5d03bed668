"""Labels of texts by a linear classifier: the mean of a text's rows, and the probability of each label.

The rows are those of `WordVectors`: `subwords.own` or `matrix` for words, `subwords.matrix` for n-grams, `outputs` for
labels. A classifier of fastText's own files is one, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.models.subwords import SENTENCE_END
from rootlm.models.text_bags import lexicon
from rootlm.models.word_vectors import WordVectors

_SPACES = re.compile(r"[ \n\r\t\v\f\0]+")


class Guess(NamedTuple):
    """A label and its probability."""

    label: str
    probability: float


class TextClassifier:
    """Says which labels a text has."""

    def __init__(self, vectors: WordVectors) -> None:
        """Take a classifier's vectors; raises ValueError for vectors that know no labels."""
        if not vectors.labels or vectors.outputs is None:
            raise ValueError(
                "these vectors know no labels; train some with rootlm vectors train kind=fasttext_classifier"
            )
        self.vectors = vectors
        self.labels: Sequence[str] = vectors.labels
        parts, settings = vectors.subwords, vectors.settings
        self._own = vectors.matrix if parts is None else parts.own
        self._shape = (parts.minimum, parts.maximum, parts.buckets) if parts else (0, 0, 0)
        self._ngrams = int(settings.get("word_ngrams", 1)) if parts else 1
        self._loss = str(settings.get("loss", "softmax"))

    def predict(self, texts: Sequence[str], k: int = 1, threshold: float = 0.0) -> list[list[Guess]]:
        """Return for each text its likeliest labels, at most k, none below the threshold.

        A text of which no word or n-gram is known has none.
        """
        chances, known = self.probabilities(texts)
        order = np.argsort(-chances, axis=1, kind="stable")[:, :k]
        return [
            [Guess(self.labels[label], float(row[label])) for label in best if row[label] >= threshold]
            if seen
            else []
            for row, best, seen in zip(chances, order.tolist(), known.tolist(), strict=True)
        ]

    def probabilities(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return each text's probability of each label (texts, labels), and which texts have any known row."""
        hidden, known = self._hidden(texts)
        outputs = np.asarray(self.vectors.outputs)
        scores = hidden @ outputs[: len(self.labels)].T
        if self._loss == "hierarchical_softmax":
            return self._by_tree(hidden, outputs), known
        if self._loss != "softmax":
            return (1 / (1 + np.exp(-scores))).astype(np.float32), known
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        return scores / scores.sum(axis=1, keepdims=True), known

    def _by_tree(self, hidden: NDArray[np.float32], outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = hidden @ outputs[: len(self.labels) - 1].T
        # The logarithm of σ(± score): turn 1 is the positive way.
        left, right = -np.logaddexp(0, scores), -np.logaddexp(0, -scores)
        chances = np.empty((len(hidden), len(self.labels)), np.float32)
        for label, (nodes, turns) in enumerate(self._ways):
            taken = np.where(turns == 0, left[:, nodes], right[:, nodes])
            chances[:, label] = np.exp(taken.sum(axis=1))
        return chances

    @cached_property
    def _ways(self) -> list[tuple[NDArray[np.int32], NDArray[np.int8]]]:
        from rootlm.models.huffman import huffman

        counts = self.vectors.label_counts
        if counts is None:
            raise ValueError(
                "the labels' counts are not known, so their tree is not; train the classifier anew"
            )
        ways = huffman(np.asarray(counts))
        spans = zip(ways.offsets[:-1].tolist(), ways.offsets[1:].tolist(), strict=True)
        return [(ways.nodes[begin:end], ways.turns[begin:end]) for begin, end in spans]

    def _hidden(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the mean of each text's rows (texts, size), and which texts have any."""
        from rootlm.models.text_bag_kernel import mean_of_bags

        numbers: dict[str, int] = {}
        lines = [_words(text) for text in texts]
        words = np.array(
            [numbers.setdefault(word, len(numbers)) for line in lines for word in line], np.int32
        )
        borders = np.zeros(len(lines) + 1, np.int64)
        np.cumsum([len(line) for line in lines], out=borders[1:])
        index: Mapping[str, int] = self.vectors.index
        own = np.array([index.get(word, -1) for word in numbers], np.int32)
        parts = self.vectors.subwords
        table = np.zeros((0, self.vectors.size), np.float32) if parts is None else parts.matrix
        known = lexicon(list(numbers), own, self._shape)
        return mean_of_bags(
            words, borders, *known, np.asarray(self._own), np.asarray(table), self._ngrams, self._shape[2]
        )


def _words(text: str) -> list[str]:
    """Return a text's words and the mark of its end."""
    return [word for word in _SPACES.split(text) if word] + [SENTENCE_END]


class Judged(NamedTuple):
    """How often the labels told are right, and how many of the right ones are told."""

    texts: int
    precision: float
    recall: float


def judge(
    classifier: TextClassifier,
    examples: Iterable[tuple[str, Sequence[str]]],
    k: int = 1,
    threshold: float = 0.0,
) -> Judged:
    """Return precision and recall of the k likeliest labels over texts with their right labels."""
    texts, right = zip(*examples, strict=True)
    told = hits = given = 0
    for guesses, labels in zip(classifier.predict(texts, k, threshold), right, strict=True):
        told, given = told + len(guesses), given + len(labels)
        hits += len({guess.label for guess in guesses} & set(labels))
    return Judged(len(texts), hits / told if told else 0.0, hits / given)
