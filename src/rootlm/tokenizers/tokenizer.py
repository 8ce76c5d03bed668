"""Text to ids and back: one class over any `tokenizer.json`, ours or published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import tokenizers

from rootlm.tokenizers import tokenizer_files
from rootlm.tokenizers.fast_encoding import PROBES, Encode, fast_encode
from rootlm.tokenizers.lost_bytes import unmatched_bytes
from rootlm.tokenizers.stream_decoder import ByteStream, StreamDecoder, WholeStream
from rootlm.tokenizers.token_bytes import TokenBytes, keeps_everything, token_bytes
from rootlm.tokenizers.tokenizer_files import Roles


class Tokenizer:
    """Encodes plain text, in which nothing is a special token; decodes ids, skipping special tokens.

    `engine` is the Hugging Face tokenizer. It is owned by this object from here on.
    """

    def __init__(self, engine: Any, roles: Roles, extra: Mapping[str, Any] | None = None) -> None:
        engine.no_truncation()
        engine.no_padding()
        engine.encode_special_tokens = True
        self._engine = engine
        self._roles = roles
        self._extra = dict(extra or {})
        self._spec: dict[str, Any] = orjson.loads(engine.to_str())
        self._vocabulary: dict[str, int] = engine.get_vocab(with_added_tokens=True)
        self._names = {number: token for token, number in self._vocabulary.items()}
        self.bos_id = self._role_id("bos", roles.bos)
        self.eos_id = self._role_id("eos", roles.eos)
        self.pad_id = None if roles.pad is None else self._role_id("pad", roles.pad)
        self.unk_id = None if roles.unk is None else self._role_id("unk", roles.unk)
        marked = {token["id"] for token in self._spec["added_tokens"] if token["special"]}
        marked |= {self.bos_id, self.eos_id} | ({self.pad_id} if self.pad_id is not None else set())
        self._skipped: frozenset[int] = frozenset(marked)
        self.special_ids: frozenset[int] = frozenset(marked - {self.unk_id})
        """Ids that only a caller adds, never plain text; text does make `unk_id`, so it is not among them."""

    @classmethod
    def load(cls, path: Path, *, bos: str | None = None, eos: str | None = None) -> Tokenizer:
        """Read a folder with `tokenizer.json`, or that file; `bos` and `eos` name what it does not tell.

        Raises ValueError naming the file when it is absent, torn, or does not say what ends a document.
        """
        content, config = tokenizer_files.read(path)
        try:
            engine = tokenizers.Tokenizer.from_str(content)
        except Exception as error:
            raise ValueError(f"{path}: not a Hugging Face tokenizer: {error}") from error
        roles = tokenizer_files.find_roles(config, orjson.loads(engine.to_str()), bos, eos, path)
        return cls(engine, roles, {key: config[key] for key in ("chat_template",) if key in config})

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which `transformers` loads as they are."""
        tokenizer_files.write(folder, self._spec, self._roles, self._extra)

    @cached_property
    def vocab_size(self) -> int:
        """One more than the largest id, so that a table of this many rows has a place for every token."""
        return int(max(self._names)) + 1

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides ids, written as canonical JSON."""
        decisive = {"spec": self._spec, "roles": asdict(self._roles)}
        return hashlib.sha256(orjson.dumps(decisive, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @cached_property
    def lossless(self) -> bool:
        """Whether decoding what was encoded gives back any text, byte for byte."""
        if (
            self._bytes is None
            or self._bytes.drops_first_space
            or not keeps_everything(self._spec, self._vocabulary)
        ):
            return False
        return all(self.decode(self.encode(text)) == text for text in self._probes)

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text, with no begin or end; text that spells a special token stays text."""
        return self._encode_plainly([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, the same as `encode` gives, on all cores."""
        if self._fast is None:
            return self._encode_plainly(texts)
        try:
            encoded = self._fast(texts)
        except UnicodeEncodeError as error:
            raise _not_text(texts) from error
        return self._without_special(texts, encoded)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; special tokens are skipped, bytes that are no character become U+FFFD."""
        if self._bytes is None:
            return self._decode_whole([self._known(number) for number in ids])
        try:
            content = b"".join(map(self._bytes.table.__getitem__, ids))
        except KeyError as error:
            raise self._unknown(error.args[0]) from None
        text = content.decode("utf-8", "replace")
        return text.removeprefix(" ") if self._bytes.drops_first_space else text

    def stream(self) -> StreamDecoder:
        """Return a decoder that takes ids one at a time and never tears a character."""
        if self._bytes is None:
            return WholeStream(self._decode_whole)
        return ByteStream(self._bytes.table, self._bytes.drops_first_space)

    def token_text(self, token_id: int) -> str:
        """Return one token for a person to read: controls escaped, parts of a character as `<0xE5>`."""
        name = str(self._names[self._known(token_id)])
        if self._bytes is None or token_id in self._skipped:
            return name
        content = self._bytes.table[token_id].decode("utf-8", "surrogateescape")
        return "".join(_visible(character) for character in content)

    def lost_bytes(self, text: str) -> int:
        """Return how many UTF-8 bytes of `text` its ids do not determine: unknown, lower-cased, dropped."""
        if self.lossless:
            return 0
        return unmatched_bytes(text, self.decode(self.encode(text)))

    def __repr__(self) -> str:
        return (
            f"Tokenizer({self._spec['model']['type']}, vocab_size={self.vocab_size}, {self.fingerprint[:12]})"
        )

    @cached_property
    def _bytes(self) -> TokenBytes | None:
        found = token_bytes(self._spec, self._vocabulary, self._skipped)
        if found is None:
            return None
        for text in self._probes:
            ids = self._encode_plainly([text])[0]
            said = b"".join(found.table[number] for number in ids).decode("utf-8", "replace")
            if (said.removeprefix(" ") if found.drops_first_space else said) != self._decode_whole(ids):
                return None
        return found

    @cached_property
    def _probes(self) -> tuple[str, ...]:
        return (*PROBES, *(self._names[number] for number in sorted(self.special_ids)[:64]))

    @cached_property
    def _fast(self) -> Encode | None:
        return fast_encode(self._engine.to_str(), self._encode_reference, self._probes)

    def _encode_reference(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            encodings = self._engine.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError as error:
            raise _not_text(texts) from error
        return [encoding.ids for encoding in encodings]

    def _encode_plainly(self, texts: Sequence[str]) -> list[list[int]]:
        return self._without_special(texts, self._encode_reference(texts))

    def _without_special(self, texts: Sequence[str], encoded: list[list[int]]) -> list[list[int]]:
        """Encode again what came out special: some models hold a special token's name as a common piece."""
        for place, ids in enumerate(encoded):
            if not self.special_ids.isdisjoint(ids):
                encoded[place] = self._encode_apart(texts[place])
        return encoded

    def _encode_apart(self, text: str) -> list[int]:
        """Encode in halves, cut inside the names of special tokens, until none of them is left whole."""
        for number in sorted(self.special_ids):
            place = text.find(self._names[number])
            if place >= 0 and len(self._names[number]) > 1:
                cut = place + 1
                return self._encode_plainly([text[:cut]])[0] + self._encode_plainly([text[cut:]])[0]
        ids = self._encode_reference([text])[0]
        return [number for number in ids if number not in self.special_ids]

    def _decode_whole(self, ids: Sequence[int]) -> str:
        return str(self._engine.decode(list(ids), skip_special_tokens=True))

    def _known(self, token_id: int) -> int:
        if token_id not in self._names:
            raise self._unknown(token_id)
        return int(token_id)

    def _unknown(self, token_id: object) -> ValueError:
        return ValueError(f"id {token_id} is not in the tokenizer's vocabulary of {self.vocab_size}")

    def _role_id(self, role: str, token: str) -> int:
        if token not in self._vocabulary:
            raise ValueError(f"{role} token {token!r} is not in the tokenizer's vocabulary; name one that is")
        return self._vocabulary[token]


def _visible(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"<0x{ord(character) - 0xDC00:02X}>"
    if character == " " or character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def _not_text(texts: Sequence[str]) -> ValueError | TypeError:
    for place, text in enumerate(texts):
        for index, character in enumerate(text):
            if "\ud800" <= character <= "\udfff":
                where = f"text {place}, character {index}"
                return ValueError(f"{where}: a lone surrogate is no Unicode; read with errors='replace'")
    return TypeError("expected a sequence of str")
