"""An encoder that is published reads in training what its tokenizer sets around a text: [CLS] … [SEP]."""

from dataclasses import dataclass

import numpy as np
import pytest

from rootlm.data.whole_texts import TextSource
from rootlm.data.windows import PADDING, Marks, WindowSource

TEXTS = [[5, 6, 7], [8], [], [9, 10, 11, 12, 13, 14, 15], [16, 17]]
CLS, SEP = 1, 2


@dataclass
class Held:
    ids: np.ndarray
    offsets: np.ndarray


def held():
    return Held(
        np.concatenate([np.array(text, np.int64) for text in TEXTS]), np.cumsum([0, *map(len, TEXTS)])
    )


@pytest.mark.parametrize("context", range(1, 24))
@pytest.mark.parametrize("closes", [False, True])
def test_windows_hold_every_document_between_its_marks(context, closes):
    begun = np.array([place in (0, 3, 4, 5, 11) for place in range(13)])
    source = WindowSource(held(), Marks(CLS, SEP, closes), context, None, starts=begun)
    rows = [np.concatenate(field) for field in zip(*map(source.window, range(source.per_epoch)), strict=True)]
    tokens, targets, _, documents, starts = rows
    place = 0
    for number, text in enumerate(TEXTS):
        read = [CLS, *text, *[SEP] * closes]
        here = slice(place, place + len(read))
        assert tokens[here].tolist() == read
        assert targets[here].tolist() == [*text, SEP, *[PADDING] * closes]
        assert set(documents[here]) == {number}
        first = held().offsets[number]
        assert starts[here].tolist() == [1, *begun[first : first + len(text)], *[1] * closes]
        place += len(read)
    assert (documents[place:] == PADDING).all()


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("context", [3, 5, 20])
def test_whole_texts_stand_between_their_marks(context, closes):
    texts = TextSource(held(), Marks(CLS, SEP, closes), context).lay(np.arange(len(TEXTS)))
    for row, length, text in zip(texts.tokens.tolist(), texts.lengths.tolist(), TEXTS, strict=True):
        assert row[:length] == [CLS, *text[: context - 1 - closes], *[SEP] * closes]
