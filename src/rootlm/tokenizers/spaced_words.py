"""Words between spaces as ids, a sentence on each line: one compiled pass over the bytes of a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rootlm.tokenizers.spaced_kernel import cut_words

Ints = NDArray[np.int64]

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"


@dataclass(frozen=True)
class SpacedText:
    """A text as ids: each line's words, then the end mark."""

    words: Sequence[bytes]
    """The word of each id; the first three are `<s>`, `</s>` and `<unk>`."""
    ids: NDArray[np.int32]
    offsets: Ints
    """(lines + 1,): where each line begins."""


def read_spaced(text: bytes) -> SpacedText:
    """Give every word between white space an id, in the order in which words first occur.

    A word `<unk>` is an ordinary word. Raises ValueError for a text that holds `<s>` or `</s>`.

    >>> read_spaced(b"a b a\\n").ids
    array([3, 4, 3, 1], dtype=int32)
    """
    marks = [BEGIN, END, UNKNOWN]
    head = " ".join(marks).encode() + b"\n"
    data = np.frombuffer(head + text, np.uint8)
    ids, lines, begins, ends = cut_words(data)
    offsets = lines[1:] - len(marks) - 1
    found = ids[len(marks) + 1 :]
    # The three words of the first line have the ids 0, 1, 2, and a line's end is written as 1.
    whole = head + text
    words = [whole[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]
    wrong = np.flatnonzero(found == 0)
    inner = np.ones(len(found), bool)
    inner[offsets[1:] - 1] = False
    wrong_end = np.flatnonzero((found == 1) & inner)
    for places, name in ((wrong, BEGIN), (wrong_end, END)):
        if len(places):
            line = int(np.searchsorted(offsets, places[0], side="right"))
            raise ValueError(f"line {line}: holds the mark {name}; leave marks out, each line gets its own")
    return SpacedText(words, found, offsets)
