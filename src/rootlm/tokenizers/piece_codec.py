"""Encoding and decoding by a Hugging Face tokenizer, with plain text kept plain."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import orjson
import tokenizers

from rootlm.tokenizers.fast_encoding import PROBES, FastEncode, fast_encode
from rootlm.tokenizers.lost_bytes import unmatched_bytes
from rootlm.tokenizers.piece_normalizer import already_normal
from rootlm.tokenizers.plain_text import not_text
from rootlm.tokenizers.stream_decoder import ByteStream, StreamDecoder, WholeStream
from rootlm.tokenizers.token_bytes import TokenBytes, keeps_everything, token_bytes

_SHUFFLED_TOKENS = 4096
_TOKENS_PER_PROBE = 64
_UNSPELT = "\U0010fffe"
# No character: it begins the names of special tokens where a text must not spell them.


def read_engine(spec: Mapping[str, Any]) -> Any:
    """Return the engine of a parsed `tokenizer.json`; raises ValueError where it cannot be one."""
    try:
        return tokenizers.Tokenizer.from_str(orjson.dumps(spec).decode())
    except Exception as error:
        raise ValueError(
            f"the engine cannot read this tokenizer ({error}); is it of a later version?"
        ) from error


def with_names(spec: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return `spec` with other names for some of its tokens; what would have joined letters to one is gone."""
    model = dict(spec["model"])
    entries = model["vocab"]
    if isinstance(entries, Mapping):
        model["vocab"] = {names.get(name, name): number for name, number in entries.items()}
    else:
        model["vocab"] = [[names.get(name, name), score] for name, score in entries]
    if model.get("merges"):
        pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
        model["merges"] = [pair for pair in pairs if names.keys().isdisjoint((*pair, "".join(pair)))]
    added = [
        {**token, "content": names.get(token["content"], token["content"])} for token in spec["added_tokens"]
    ]
    return {**spec, "added_tokens": added, "model": model, "post_processor": None}


class PieceCodec:
    """Any model that `tokenizers` runs: byte pairs, unigrams, word pieces."""

    def __init__(
        self,
        engine: Any,
        spec: Mapping[str, Any],
        special_ids: frozenset[int],
        skipped: frozenset[int],
        normalize: Callable[[str], str] | None = None,
    ) -> None:
        """`normalize` takes the place of the engine's own steps before it looks for pieces."""
        self._engine = engine
        self._spec = spec
        self._normalize = normalize
        self._plain_spec = already_normal(spec) if normalize else spec
        self._special_ids = special_ids
        self._skipped = skipped
        self._vocabulary: dict[str, int] = engine.get_vocab(with_added_tokens=True)
        self._names = {number: token for token, number in self._vocabulary.items()}

    @cached_property
    def lossless(self) -> bool:
        """Whether no text is changed: read from the pipeline, then tried on the probes."""
        if self._bytes is None or self._bytes.drops_first_space:
            return False
        if not keeps_everything(self._spec, self._vocabulary):
            return False
        return all(self.decode(self.encode(text)) == text for text in self._probes)

    def encode(self, text: str) -> list[int]:
        """Return the ids of one text."""
        return self.encode_batch([text])[0] if self._normalize else self._encode_here([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, by the fast encoder where it was seen to agree."""
        if self._normalize:
            return self._encode_here([self._normalize(text) for text in self._whole(texts)])
        encoded = self._fast(texts) if self._fast else None
        return self._without_special(texts, encoded or self._encode_reference(texts))

    def spelt(self, text: str) -> list[tuple[int, str]]:
        """Return each id of one text with the letters it stands for, as the engine has them before it looks."""
        (whole,) = self._whole([text])
        whole = self._normalize(whole) if self._normalize else whole
        found = self._reading_engine.encode(whole, add_special_tokens=False)
        return [
            (number, whole[start:end]) for number, (start, end) in zip(found.ids, found.offsets, strict=True)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of known ids."""
        if self._bytes is None:
            return self._decode_whole(list(ids))
        text = b"".join(map(self._bytes.table.__getitem__, ids)).decode("utf-8", "replace")
        return text.removeprefix(" ") if self._bytes.drops_first_space else text

    def stream(self) -> StreamDecoder:
        """Return a decoder for ids that come one at a time."""
        if self._bytes is None:
            return WholeStream(self._decode_whole)
        return ByteStream(self._bytes.table, self._bytes.drops_first_space)

    def token_text(self, token_id: int) -> str:
        """Return a token's own text; bytes that are no whole character come as lone surrogates."""
        if self._bytes is None or token_id in self._skipped:
            return str(self._names[token_id])
        return self._bytes.table[token_id].decode("utf-8", "surrogateescape")

    def encode_marked(self, text: str) -> list[int]:
        """Return the ids of a text in which the names of special tokens are those tokens."""
        (whole,) = self._whole([text])
        found: list[int] = self._marking_engine.encode(whole, add_special_tokens=False).ids
        return found

    @cached_property
    def _marking_engine(self) -> Any:
        return read_engine(self._spec)

    def lost_bytes(self, text: str) -> int:
        """Return the bytes that a round trip does not bring back."""
        return 0 if self.lossless else unmatched_bytes(text, self.decode(self.encode(text)))

    @cached_property
    def _bytes(self) -> TokenBytes | None:
        """The bytes of every token, where joining them was seen to equal the engine's own decoding."""
        found = token_bytes(self._spec, self._vocabulary, self._skipped)
        if found is None:
            return None
        for ids in (
            map(self.encode, self._probes) if self._normalize else self._encode_reference(self._probes)
        ):
            said = b"".join(found.table[number] for number in ids).decode("utf-8", "replace")
            if (said.removeprefix(" ") if found.drops_first_space else said) != self._decode_whole(ids):
                return None
        return found

    @cached_property
    def _probes(self) -> list[str]:
        """Fixed texts, the names of special tokens, and this vocabulary's tokens in random neighbourhoods."""
        names = [self._names[number] for number in sorted(self._special_ids)[:64]]
        common = sorted(set(self._names) - self._skipped)
        random.Random(0).shuffle(common)
        common = common[:_SHUFFLED_TOKENS]
        groups = [
            common[place : place + _TOKENS_PER_PROBE] for place in range(0, len(common), _TOKENS_PER_PROBE)
        ]
        return [*PROBES, *names, *(self._decode_whole(group) for group in groups)]

    @cached_property
    def _fast(self) -> FastEncode | None:
        return fast_encode(orjson.dumps(self._spec).decode(), self._encode_reference, self._probes)

    def _whole(self, texts: Sequence[str]) -> Sequence[str]:
        """Return texts that UTF-8 can write; raises ValueError naming the first that it cannot."""
        try:
            "".join(texts).encode()
        except UnicodeEncodeError as error:
            raise not_text(texts) from error
        return texts

    def _encode_here(self, texts: Sequence[str]) -> list[list[int]]:
        return self._without_special(texts, self._encode_reference(texts))

    @cached_property
    def _reading_engine(self) -> Any:
        """The engine for plain text: another than the one that decodes where texts come in their normal form."""
        if self._normalize is None:
            return self._engine
        engine = read_engine(self._plain_spec)
        engine.encode_special_tokens = True
        return engine

    def _encode_reference(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            encodings = self._reading_engine.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError as error:
            raise not_text(texts) from error
        return [encoding.ids for encoding in encodings]

    def _without_special(self, texts: Sequence[str], encoded: list[list[int]]) -> list[list[int]]:
        """Encode again what came out special: some models hold a special token's name as a common piece."""
        for place, ids in enumerate(encoded):
            if not self._special_ids.isdisjoint(ids):
                encoded[place] = self._encode_apart(texts[place])
        return encoded

    def _encode_apart(self, text: str) -> list[int]:
        """Encode by an engine whose special tokens have names that no text spells."""
        ids = self._plain_engine.encode(text, add_special_tokens=False).ids
        return [number for number in ids if number not in self._special_ids]

    @cached_property
    def _plain_engine(self) -> Any:
        hidden = {self._names[number]: f"{_UNSPELT}{number}" for number in self._special_ids}
        engine = read_engine(with_names(self._plain_spec, hidden))
        engine.encode_special_tokens = True
        return engine

    def _decode_whole(self, ids: Sequence[int]) -> str:
        return str(self._engine.decode(list(ids), skip_special_tokens=True))
