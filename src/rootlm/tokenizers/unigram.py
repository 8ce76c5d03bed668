"""Unigram pieces (Kudo 2018): the vocabulary under which the text is most likely."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, trainers

from rootlm.core.config import Config
from rootlm.tokenizers.pretokenization import text_splitter
from rootlm.tokenizers.special_tokens import SPECIAL_TOKENS
from rootlm.tokenizers.token_bytes import BYTE_PIECES
from rootlm.tokenizers.unigram_estimation import estimate

_UNKNOWN = "<unk>"
_ENCODED_AT_ONCE = 1024


class Unigram(Config):
    """The pieces under which the text is most likely; a rare character is spelt in bytes."""

    kind: Literal["unigram"] = "unigram"
    vocab_size: int = 8192
    """Entries, of which 261 are special tokens, single bytes and an unknown that nothing becomes."""
    sample_bytes: int = 20_000_000
    """Learn from at most this much text, drawn evenly from the corpus."""
    character_coverage: float = 0.9995
    """Share of all characters that get an entry of their own; the rarest are spelt in bytes."""

    @property
    def least_vocab_size(self) -> int:
        """What the special tokens, the bytes and the unknown take, and one piece."""
        return len(SPECIAL_TOKENS) + len(BYTE_PIECES) + 2

    def learn(self, texts: Sequence[str]) -> Any:
        """Return the engine trained on `texts`; estimated here, because the library's order is random."""
        reserved = [*SPECIAL_TOKENS, *BYTE_PIECES, _UNKNOWN]
        room = self.vocab_size - len(reserved)
        words = count_words(texts)
        alphabet = _alphabet(words, self.character_coverage)
        characters = max(1, room // 2)
        pieces = estimate(words, alphabet[:characters], room)
        while len(pieces) < room and characters < len(alphabet):
            # A small text: what longer pieces leave free goes to further characters.
            characters += room - len(pieces)
            pieces = estimate(words, alphabet[:characters], room)
        lowest = min(score for _, score in pieces)
        # Text never spells the reserved ones: the splitter cuts their names into letters, digits and marks.
        vocabulary = [*((token, lowest) for token in reserved), *pieces]
        engine = Engine(models.Unigram(vocabulary, unk_id=len(reserved) - 1, byte_fallback=True))
        engine.pre_tokenizer = text_splitter()
        engine.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
        return engine


def count_words(texts: Sequence[str]) -> dict[str, int]:
    """Return how often each stretch between two cuts occurs, in the order of its text."""
    counter = Engine(models.WordLevel(unk_token=_UNKNOWN))
    counter.pre_tokenizer = text_splitter()
    trainer = trainers.WordLevelTrainer(vocab_size=2**31, special_tokens=[_UNKNOWN], show_progress=False)
    counter.train_from_iterator(texts, trainer)
    counts = np.zeros(counter.get_vocab_size(), np.int64)
    counter.encode_special_tokens = True
    for start in range(0, len(texts), _ENCODED_AT_ONCE):
        batch = counter.encode_batch_fast(texts[start : start + _ENCODED_AT_ONCE], add_special_tokens=False)
        ids = np.concatenate([np.asarray(encoding.ids, np.int64) for encoding in batch])
        counts += np.bincount(ids, minlength=counts.size)
    names = counter.get_vocab(with_added_tokens=False)
    return {word: int(counts[names[word]]) for word in sorted(names) if counts[names[word]]}


def _alphabet(words: dict[str, int], coverage: float) -> list[str]:
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    frequent = sorted(counts, key=lambda character: (-counts[character], character))
    reached = np.cumsum([counts[character] for character in frequent])
    return frequent[: int(np.searchsorted(reached, coverage * reached[-1])) + 1]
