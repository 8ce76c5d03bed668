"""Which tokens of a text begin a word: Chinese cut by its dictionary, other scripts by letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rootlm.text.words.segment import Segment
from rootlm.tokenizers.tokenizer import Tokenizer


def word_starts(
    tokenizer: Tokenizer, texts: Sequence[str], encoded: Sequence[Sequence[int]]
) -> Iterator[NDArray[np.bool_]]:
    """Yield for each text which of its ids begin a word, mark or space.

    A token that holds the end of one word and the begin of the next belongs to the first. Raises ValueError for a
    tokenizer whose tokens cannot be found again in the text.
    """
    if tokenizer.knows_words:
        yield from (np.ones(len(ids), bool) for ids in encoded)
        return
    sizes = tokenizer.byte_sizes
    if sizes is None:
        raise ValueError(
            "this tokenizer changes the text, so that its words cannot be found again; "
            "use a tokenizer of kind bpe, unigram, wordpiece or character, or mask single tokens"
        )
    table = np.zeros(tokenizer.vocab_size, np.int64)
    table[list(sizes)] = list(sizes.values())
    segmenter = Segment().build()
    for text, ids in zip(texts, encoded, strict=True):
        pieces = [len(piece.encode()) for piece in segmenter.pieces(text)]
        borders = np.cumsum([0, *pieces])
        places = np.cumsum(table[np.asarray(ids, np.int64)]) - table[np.asarray(ids, np.int64)]
        yield np.isin(places, borders)
