"""Whole words, learned by counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from tokenizers import Tokenizer as Engine
from tokenizers import models, trainers

from rootlm.core.config import Config
from rootlm.tokenizers.special_tokens import SPECIAL_TOKENS
from rootlm.tokenizers.word_codec import CUTS, UNKNOWN, UNKNOWN_SPACED, Cut


class Words(Config):
    """The most frequent words; any other word is unknown."""

    kind: Literal["word"] = "word"
    vocab_size: int = 16384
    """At most so many entries, five of them special tokens and `<unk>`."""
    sample_bytes: int = 20_000_000
    """Learn from at most this much text, drawn evenly from the corpus."""
    cut: Cut = "rjieba"
    """rjieba cuts Chinese by its dictionary and all else by letters; spaces takes text that is cut already: words are
    what stands between spaces, a line end is a token, and `<unk>` is a word like any other."""

    @property
    def least_vocab_size(self) -> int:
        """What the special tokens take, and one word."""
        return len(SPECIAL_TOKENS) + 2

    @property
    def unknown(self) -> str:
        """The token of every other word."""
        return UNKNOWN_SPACED if self.cut == "spaces" else UNKNOWN

    def learn(self, texts: Sequence[str]) -> Any:
        """Return the engine with the words of `texts`; it looks up words that are already cut."""
        learner = Engine(models.WordLevel(unk_token=self.unknown))
        trainer = trainers.WordLevelTrainer(
            vocab_size=self.vocab_size, special_tokens=[*SPECIAL_TOKENS, self.unknown], show_progress=False
        )
        learner.train_from_iterator(map(CUTS[self.cut].split, texts), trainer)
        return Engine(models.WordLevel(learner.get_vocab(with_added_tokens=False), unk_token=self.unknown))
