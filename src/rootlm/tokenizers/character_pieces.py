"""One token per character; a character that was not seen often enough is spelt in bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models

from rootlm.core.config import Config
from rootlm.tokenizers.pretokenization import text_splitter
from rootlm.tokenizers.special_tokens import SPECIAL_TOKENS
from rootlm.tokenizers.token_bytes import BYTE_PIECES


class Characters(Config):
    """The most frequent characters, then bytes: nothing is unknown."""

    kind: Literal["character"] = "character"
    vocab_size: int = 8192
    """At most so many entries, of which 260 are special tokens and single bytes."""
    sample_bytes: int = 20_000_000
    """Learn from at most this much text, drawn evenly from the corpus."""

    @property
    def least_vocab_size(self) -> int:
        """What the special tokens and the bytes take."""
        return len(SPECIAL_TOKENS) + len(BYTE_PIECES)

    def learn(self, texts: Sequence[str]) -> Any:
        """Return the engine with the characters of `texts`."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        frequent = sorted(counts, key=lambda character: (-counts[character], character))
        entries = [*SPECIAL_TOKENS, *BYTE_PIECES, *frequent][: self.vocab_size]
        vocabulary = {entry: number for number, entry in enumerate(entries)}
        engine = Engine(models.BPE(vocabulary, [], byte_fallback=True))
        # Cut anywhere, or the fast encoder takes a text that spells an entry for that entry.
        engine.pre_tokenizer = text_splitter()
        engine.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
        return engine
