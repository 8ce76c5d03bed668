"""How likely each line of a text of spaced words is to an n-gram model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from rootlm.core.shares import THREADS
from rootlm.models.arpa_writer import BEGIN, END, UNKNOWN
from rootlm.models.ngram import Ngram
from rootlm.models.ngram_index import Index, index
from rootlm.models.word_hash_kernel import hold_words
from rootlm.runs.spaced_scoring_kernel import score_lines
from rootlm.tokenizers.spaced_words import read_spaced

Reals = NDArray[np.float64]


class SpacedScorer:
    """Scores texts of spaced words; making one lays the model out for it, which takes a while."""

    def __init__(self, model: Ngram, words: Sequence[str]) -> None:
        """`words` are the names of the model's ids, as `read_arpa` gives them."""
        self._model, self._words = model, words
        self._marks = (words.index(BEGIN), words.index(END), words.index(UNKNOWN))
        self._index = index(model.tables)
        names = [word.encode() for word in words]
        ends = np.cumsum([0, *map(len, names)], dtype=np.int64)
        holders = np.full(1 << max(4, (2 * len(names)).bit_length()), -1, np.int32)
        spans = np.stack([ends[:-1], ends[1:]], 1)
        self._vocabulary = (np.frombuffer(b"".join(names), np.uint8), spans, holders)
        hold_words(*self._vocabulary)

    def score(self, text: bytes) -> Reals:
        """Return log10 p of each line, its end included; unknown words are `<unk>`.

        Raises ValueError for a text that holds `<s>` or `</s>`.
        """
        if self._index is None:
            return self._walk(text)
        found: list[Reals] = []
        with ThreadPoolExecutor(THREADS) as threads:
            for waiting in [threads.submit(self._read, self._index, part) for part in _parts(text)]:
                totals, mark = waiting.result()
                found.append(totals)
                if mark >= 0:
                    line = sum(map(len, found)) + 1
                    raise ValueError(
                        f"line {line}: holds the mark {self._words[mark]}; leave marks out, each line gets its own"
                    )
        return np.concatenate(found) / math.log(10)

    def _read(self, table: Index, text: memoryview) -> tuple[Reals, int]:
        data = np.frombuffer(text, np.uint8)
        totals = np.empty(int(np.count_nonzero(data == ord("\n"))) + 1)
        begin = table.after(self._marks[0])
        lines, mark = score_lines(data, self._vocabulary, table.table, self._marks, begin, totals)
        return totals[:lines], mark

    def _walk(self, text: bytes) -> Reals:
        """Do the same through the tree, for models that have no index."""
        begin, _, unknown = self._marks
        spaced = read_spaced(text)
        known = {word.encode(): number for number, word in enumerate(self._words)}
        table = np.asarray([known.get(word, unknown) for word in spaced.words], np.int64)
        asked, starts = table[spaced.ids], spaced.offsets[:-1]
        before = np.roll(asked, 1)
        before[starts] = begin
        lows = np.repeat(starts, np.diff(spaced.offsets))
        nats = self._model.nats_of(before, lows, asked)
        return np.add.reduceat(nats, starts) / -math.log(10) if len(starts) else np.zeros(0)


def _parts(text: bytes) -> list[memoryview]:
    """Cut a text between lines into a part for each thread."""
    borders = [0]
    for part in range(1, THREADS):
        borders.append(text.find(b"\n", max(borders[-1], len(text) * part // THREADS)) + 1 or len(text))
    view, borders = memoryview(text), [*borders, len(text)]
    return [view[low:high] for low, high in itertools.pairwise(borders)]
