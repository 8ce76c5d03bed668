"""What a tokenizer does to text, by language: bytes per token, fertility, unknowns, lost bytes."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rootlm.text.steps.characters import profile
from rootlm.text.steps.language import language
from rootlm.tokenizers.tokenizer import Tokenizer

ALL = "all"
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_PART = re.compile("<0x[0-9A-F]{2}>")
_NAMED = ("zh", "en")
_EXCERPT_CHARACTERS = 80


@dataclass
class Tally:
    """Sums over the documents of one language."""

    documents: int = 0
    bytes: int = 0
    characters: int = 0
    han: int = 0
    words: int = 0
    """Runs of letters that are not Han."""
    tokens: int = 0
    unknown: int = 0
    lost_bytes: int = 0

    def add(self, other: Tally) -> None:
        """Take another tally's sums."""
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def bytes_per_token(self) -> float:
        """Raw UTF-8 bytes per token: how much text one prediction covers."""
        return self.bytes / self.tokens if self.tokens else 0.0

    @property
    def fertility(self) -> float:
        """Tokens per word, where each Han character counts as a word of its own."""
        units = self.words + self.han
        return self.tokens / units if units else 0.0

    @property
    def unknown_share(self) -> float:
        """Unknown tokens among all."""
        return self.unknown / self.tokens if self.tokens else 0.0

    @property
    def lost_share(self) -> float:
        """Bytes that the ids do not determine among all bytes."""
        return self.lost_bytes / self.bytes if self.bytes else 0.0


@dataclass
class Measures:
    """Everything measured about one tokenizer on one text."""

    by_language: dict[str, Tally] = field(default_factory=dict)
    used: Counter[int] = field(default_factory=Counter)
    """How often each id occurred."""
    encode_seconds: float = 0.0

    @property
    def megabytes_per_second(self) -> float:
        """Speed of batch encoding."""
        return self.by_language[ALL].bytes / 1e6 / max(self.encode_seconds, 1e-9)


def measure(tokenizer: Tokenizer, texts: Sequence[str]) -> Measures:
    """Encode `texts` and sum up by language (zh, en, other) and over all."""
    measures = Measures({ALL: Tally()})
    tokenizer.encode_batch(["warm up: load what is loaded once"])
    started_at = time.perf_counter()
    encoded = tokenizer.encode_batch(texts)
    measures.encode_seconds = time.perf_counter() - started_at
    for text, ids in zip(texts, encoded, strict=True):
        counts = profile(text)
        tally = Tally(
            documents=1,
            bytes=len(text.encode()),
            characters=len(text),
            han=counts.han,
            words=sum(1 for _ in _WORD.finditer(_without_han(text, counts.han))),
            tokens=len(ids),
            unknown=ids.count(tokenizer.unk_id) if tokenizer.unk_id is not None else 0,
            lost_bytes=tokenizer.lost_bytes(text),
        )
        found = language(text)
        name = found if found in _NAMED else "other"
        measures.by_language.setdefault(name, Tally()).add(tally)
        measures.by_language[ALL].add(tally)
        measures.used.update(ids)
    return measures


def longest_tokens(tokenizer: Tokenizer, count: int) -> dict[str, list[str]]:
    """Return the longest tokens that are whole text: those with Han characters, and the others."""
    han: list[str] = []
    others: list[str] = []
    for number in range(tokenizer.vocab_size):
        if tokenizer.knows(number) and number not in tokenizer.special_ids and number != tokenizer.unk_id:
            shown = tokenizer.token_text(number)
            if shown.strip() and not _PART.search(shown):
                (han if profile(shown).han else others).append(shown)
    for tokens in (han, others):
        tokens.sort(key=lambda token: (-len(token), token))
    return {"Han": han[:count], "other": others[:count]}


def segmented(tokenizer: Tokenizer, text: str) -> str:
    """Return the beginning of `text` with a bar between tokens.

    Spaces are shown as `␣`; a token that is part of a character shows its bytes.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")[:_EXCERPT_CHARACTERS]
    return "|".join(tokenizer.token_text(number).replace(" ", "␣") for number in tokenizer.encode(first))


def _without_han(text: str, han: int) -> str:
    return text if not han else re.sub(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+", " ", text)
