"""Tokenizers over bytes: byte-pair encoding (Sennrich et al. 2016) and WordPiece (Wu et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers, trainers

from rootlm.core.config import Config
from rootlm.tokenizers.pretokenization import Cut, byte_splitter
from rootlm.tokenizers.special_tokens import SPECIAL_TOKENS
from rootlm.tokenizers.token_bytes import UNBOUNDED, byte_letters

CONTINUING = "⁀"
# Written before pieces inside a word. The usual `##` may also be text, two number signs; this mark is none of
# the letters that stand for bytes.


class BytePairs(Config):
    """Byte-level BPE: the most frequent neighbours are joined, one pair at a time."""

    kind: Literal["bpe"] = "bpe"
    vocab_size: int = 8192
    """Entries, of which 260 are special tokens and single bytes."""
    sample_bytes: int = 20_000_000
    """Learn from at most this much text, drawn evenly from the corpus."""
    cut: Cut = "rootlm"
    """Where texts are cut first. llama.cpp knows the ways of `qwen2` and `llama3`: a model with one of them can be
    written as GGUF."""

    @property
    def least_vocab_size(self) -> int:
        """What the special tokens and the bytes take."""
        return len(SPECIAL_TOKENS) + 256

    def learn(self, texts: Sequence[str]) -> Any:
        """Return the engine trained on `texts`."""
        engine = Engine(models.BPE())
        engine.pre_tokenizer = byte_splitter(self.cut)
        engine.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        engine.train_from_iterator(texts, trainer)
        return engine


class WordPieces(Config):
    """Byte-level WordPiece: the longest known piece first; pieces inside a word begin with `⁀`."""

    kind: Literal["wordpiece"] = "wordpiece"
    vocab_size: int = 8192
    """Entries, of which 516 are special tokens and single bytes, at the start of a word and inside one."""
    sample_bytes: int = 20_000_000
    """Learn from at most this much text, drawn evenly from the corpus."""

    @property
    def least_vocab_size(self) -> int:
        """What the special tokens and the bytes take."""
        return len(SPECIAL_TOKENS) + 2 * 256

    def learn(self, texts: Sequence[str]) -> Any:
        """Return the engine trained on `texts`."""
        letters = list(byte_letters())
        # Named first, the letters keep one order; the trainer itself meets them in a random one.
        reserved = [*SPECIAL_TOKENS, *letters, *(CONTINUING + letter for letter in letters)]
        learner = Engine(models.WordPiece())
        learner.pre_tokenizer = byte_splitter()
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size,
            special_tokens=reserved,
            continuing_subword_prefix=CONTINUING,
            show_progress=False,
        )
        learner.train_from_iterator(texts, trainer)
        vocabulary = learner.get_vocab(with_added_tokens=False)
        model = models.WordPiece(
            vocabulary, continuing_subword_prefix=CONTINUING, max_input_chars_per_word=UNBOUNDED
        )
        engine = Engine(model)
        engine.pre_tokenizer = byte_splitter()
        engine.decoder = decoders.Sequence([decoders.Replace(CONTINUING, ""), decoders.ByteLevel()])
        return engine
