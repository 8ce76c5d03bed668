"""From the bytes of a text to the log-probability of each line, in one compiled pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled
from rootlm.models.ngram_index_kernel import Table, follow
from rootlm.models.word_hash_kernel import find_word

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Words = NDArray[np.int32]

_LINE, _SPACE = ord("\n"), ord(" ")


@compiled
def score_lines(
    data: Bytes,
    vocabulary: tuple[Bytes, Ints, Words],
    table: Table,
    marks: tuple[int, int, int],
    after_begin: int,
    totals: NDArray[np.float64],
) -> tuple[int, int]:
    """Write ln p of each line, its end included; returns (lines, −1), or the line that holds a mark, and the mark.

    `vocabulary` is as `find_word` takes it, `marks` are the ids of begin, end and unknown, `after_begin` is the state
    after begin. Words stand between white space; what follows the last line's end is a line where it holds a word.
    """
    names, spans, holders = vocabulary
    begin_mark, end_mark, unknown = marks
    line, place, size = 0, 0, len(data)
    total, state, held = 0.0, after_begin, False
    while place < size:
        if data[place] > _SPACE:
            begin = place
            while place < size and data[place] > _SPACE:
                place += 1
            word, _ = find_word(names, spans, holders, data, begin, place)
            if word in (begin_mark, end_mark):
                return line, word
            logp, state = follow(table, state, word if word >= 0 else unknown)
            total += logp
            held = True
            continue
        if data[place] == _LINE:
            totals[line] = total + follow(table, state, end_mark)[0]
            line += 1
            total, state, held = 0.0, after_begin, False
        place += 1
    if held:
        totals[line] = total + follow(table, state, end_mark)[0]
        line += 1
    return line, -1
