"""A run of the linear classifier: labelled lines → words, labels and n-grams → training → its vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.core import config, machine
from rootlm.models.subwords import SENTENCE_END, Subwords
from rootlm.models.text_bags import Lexicon, lexicon
from rootlm.models.word_vectors import WordVectors
from rootlm.runs.classified import LABEL
from rootlm.runs.vectors_room import MOST_BUCKETS, enough_buckets, require_memory
from rootlm.tokenizers.counted_words import CountedWords, count_words
from rootlm.training import linear_classifier_training as training
from rootlm.training.stretches import Standing
from rootlm.training.word_vector_settings import ClassifierConfig

_NO_LIMIT = 1 << 62

Ints = NDArray[np.int64]
Say = Callable[[str], None]


def classifier(
    settings: ClassifierConfig, pieces: Iterator[bytes], say: Say, tell: Callable[[Standing], None]
) -> WordVectors:
    """Return the vectors of a classifier of labelled lines; raises ValueError for lines without labels."""
    threads = settings.threads or machine.physical_cores()
    counted = count_words(_ended(pieces), min_count=1, threads=threads, longest_line=_NO_LIMIT)
    found = _sorted(counted, settings.min_count)
    say(
        f"{len(found.texts.borders) - 1:,} texts, {counted.read:,} words and labels read; {len(found.words):,} "
        f"words and {len(found.labels):,} labels are kept"
    )
    known, places = _places(settings, found)
    require_memory(
        settings.size,
        len(found.words) + len(places.used) + len(found.labels),
        len(found.words) + places.buckets,
    )
    learned = training.train(settings, found.texts, known, places, tell)
    count = len(found.words)
    own, matrix = learned.rows[:count], None
    if places.buckets:
        matrix = np.zeros((places.buckets, settings.size), np.float32)
        matrix[places.used] = learned.rows[count:]
    about: dict[str, Any] = {
        "counts": found.counts,
        "outputs": learned.outputs,
        "labels": found.labels,
        "label_counts": found.texts.label_counts,
        "settings": {
            **config.to_plain(settings),
            "buckets": places.buckets,
            "architecture": "classifier",
            "tokens": counted.read,
        },
    }
    if matrix is None:
        return WordVectors(found.words, own, **about)
    parts = Subwords(settings.minimum, settings.maximum, places.buckets, matrix, own)
    return WordVectors.of_subwords(found.words, parts, **about)


def _ended(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the pieces with the mark of the end on every line, as fastText reads them."""
    mark = f" {SENTENCE_END}\n".encode()
    for piece in pieces:
        yield (piece if piece.endswith(b"\n") else piece + b"\n").replace(b"\n", mark)


class _Found(NamedTuple):
    """What the lines hold, words and labels apart."""

    words: list[str]
    """The words that have a row."""
    counts: Ints
    labels: list[str]
    texts: training.Texts
    """Lines as numbers of `every`."""
    every: list[str]
    """All words, those without a row too, and the labels, which are never asked for."""
    own: NDArray[np.int32]
    """The row of each of them, -1 for none."""


def _sorted(counted: CountedWords, min_count: int) -> _Found:
    """Take words and labels apart; both stay in the order of falling counts."""
    is_label = np.array([word.startswith(LABEL) for word in counted.words], np.bool_)
    if not is_label.any():
        raise ValueError(f"no line holds a label; begin each with one, as {LABEL}good")
    kept = ~is_label & (counted.counts >= min_count)
    if not kept.any():
        raise ValueError(
            f"min_count={min_count}: no word is left; set it lower, or put words after the labels"
        )
    own, label = (np.where(mask, np.cumsum(mask) - 1, -1).astype(np.int32) for mask in (kept, is_label))
    marked = is_label[counted.tokens]
    before = np.zeros(len(counted.tokens) + 1, np.int64)
    np.cumsum(marked, out=before[1:])
    label_borders = before[counted.borders]
    texts = training.Texts(
        counted.tokens[~marked],
        counted.borders - label_borders,
        label[counted.tokens[marked]],
        label_borders,
        counted.counts[is_label],
    )
    names = np.array(counted.words, object)
    return _Found(
        names[kept].tolist(), counted.counts[kept], names[is_label].tolist(), texts, counted.words, own
    )


def _places(settings: ClassifierConfig, found: _Found) -> tuple[Lexicon, training.Layout]:
    """Return what is known of all words, and where n-grams have their rows."""
    if not settings.maximum and settings.word_ngrams == 1:
        known = lexicon(found.every, found.own, (0, 0, 0))
        return known, training.layout(found.texts, known, len(found.words), 1, 0)
    buckets = settings.buckets or MOST_BUCKETS
    for again in (settings.buckets is None, False):
        known = lexicon(found.every, found.own, (settings.minimum, settings.maximum, buckets))
        places = training.layout(found.texts, known, len(found.words), settings.word_ngrams, buckets)
        if not again:
            break
        buckets = enough_buckets(len(places.used))
    return known, places
