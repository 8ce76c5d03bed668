"""Which tokens of a store begin a word: a bit for each, made once, kept beside the store."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rootlm.core.files import locked, new_folder, read_json, write_json
from rootlm.data.store import Store
from rootlm.text.document import Document
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.tokenizers.word_codec import segmenter_check
from rootlm.tokenizers.word_starts import word_starts

STARTS, FACTS = "starts.bin", "words.json"
_BATCH_DOCUMENTS = 4096


def open_or_build_starts(
    folder: Path, store: Store, documents: Iterable[Document], tokenizer: Tokenizer
) -> NDArray[np.bool_]:
    """Return for every token of a store whether a word begins with it; `documents` are those of the store."""
    facts = {"corpus": store.facts.corpus, "tokenizer": store.facts.tokenizer, "words": segmenter_check()}
    if not (folder / FACTS).is_file() or read_json(folder / FACTS) != facts:
        with locked(folder.parent):
            _build(folder, store, documents, tokenizer, facts)
    if not store.tokens:
        return np.zeros(0, bool)
    return np.memmap(folder / STARTS, np.bool_, mode="r", shape=(store.tokens,))


def _build(
    folder: Path, store: Store, documents: Iterable[Document], tokenizer: Tokenizer, facts: dict[str, str]
) -> None:
    stream = iter(documents)
    with new_folder(folder) as partial:
        with (partial / STARTS).open("wb") as file:
            number = 0
            while texts := [document.text for document in islice(stream, _BATCH_DOCUMENTS)]:
                encoded = [store[number + place].tolist() for place in range(len(texts))]
                for starts in word_starts(tokenizer, texts, encoded):
                    file.write(starts.tobytes())
                number += len(texts)
        write_json(partial / FACTS, facts)
