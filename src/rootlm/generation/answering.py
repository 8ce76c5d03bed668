"""How a published encoder–decoder answers: what its folder says beside the choice of tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from rootlm.generation.transforms import History

START = "decoder_start_token_id"
_UNKNOWN = {
    "begin_suppress_tokens": None,
    "forced_decoder_ids": None,
    "sequence_bias": None,
    "force_words_ids": None,
    "constraints": None,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1,
    "exponential_decay_length_penalty": None,
    "diversity_penalty": 0,
    "num_beam_groups": 1,
}
"""What is not followed, and what it says where it asks for nothing."""


@dataclass(frozen=True)
class Answering:
    """The marks of its answers; its sources are read with the marks that their tokenizer sets around them.

    Every answer begins with the token that the folder's tokenizer takes for its begin mark.
    """

    first: int | None = None
    """The token that must follow the begin mark, such as that of a language."""
    last: int | None = None
    """The token that must stand at the end of an answer as long as it may be."""
    least: int = 0
    """No answer ends before so many tokens, `first` included."""
    banned: frozenset[int] = frozenset()
    """Ids that are never said."""

    def begun(self, begin: int) -> list[int]:
        """Return the ids that stand before what is chosen."""
        return [begin] if self.first is None else [begin, self.first]


@dataclass(frozen=True)
class Ending:
    """Rule out the end of an answer before `least` tokens, and all but `last` at the `most`th."""

    ends: frozenset[int]
    least: int
    most: int
    last: int | None

    def __call__(self, logits: Tensor, history: History) -> Tensor:
        for row, size in enumerate(history.sizes):
            if size < self.least:
                logits = logits.clone()
                logits[row, sorted(self.ends)] = -math.inf
            elif size == self.most - 1 and self.last is not None:
                forced = logits.new_full(logits.shape[1:], -math.inf)
                forced[self.last] = 0.0
                logits = logits.clone()
                logits[row] = forced
        return logits


def answering_of(data: Mapping[str, Any]) -> Answering | None:
    """Read what a `generation_config.json` says of answers; None where it names no token that begins them.

    Raises ValueError for what cannot be followed.

    >>> answering_of({"decoder_start_token_id": 2, "forced_bos_token_id": 0, "min_length": 5})
    Answering(first=0, last=None, least=4, banned=frozenset())
    """
    if data.get(START) is None:
        return None
    for key, nothing in _UNKNOWN.items():
        if data.get(key) and data[key] != nothing:
            raise ValueError(f"{key} is not supported; take it out to answer without it")
    banned = {_one(data, "suppress_tokens", token) for token in _list(data, "suppress_tokens")}
    for words in _list(data, "bad_words_ids"):
        if not isinstance(words, list) or len(words) != 1:
            raise ValueError(f"bad_words_ids holds {words}; only single tokens can be ruled out")
        banned.add(_one(data, "bad_words_ids", words[0]))
    least = _count(data, "min_new_tokens") or max(0, _count(data, "min_length") - 1)
    first, last = (_one(data, key, data.get(key)) for key in ("forced_bos_token_id", "forced_eos_token_id"))
    return Answering(first, last, least, frozenset(number for number in banned if number is not None))


def start_of(data: Mapping[str, Any]) -> int | None:
    """Return the id that begins an answer; None where none is named."""
    return _one(data, START, data.get(START))


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if value is None or isinstance(value, list):
        return value or []
    raise ValueError(f"{key} is {value!r}, expected a list")


def _count(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value or 0
    raise ValueError(f"{key} is {value!r}, expected a whole number")


def _one(data: Mapping[str, Any], key: str, value: Any) -> int | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError(f"{key} is {value!r}, expected one id")
