"""Text to ids and back: one class over any `tokenizer.json`, ours or published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from rootlm.tokenizers import framing, piece_normalizer, tokenizer_files, word_codec
from rootlm.tokenizers.chat_template import Message, Rendered, choose, named_templates
from rootlm.tokenizers.foreign_tokenizer import find_tokenizer
from rootlm.tokenizers.merge_pairs import merged_from
from rootlm.tokenizers.piece_codec import PieceCodec, read_engine
from rootlm.tokenizers.piece_normalizer import PieceNormalizer
from rootlm.tokenizers.piece_pair import PAIR, PairCodec, own_names
from rootlm.tokenizers.special_tokens import MASK
from rootlm.tokenizers.stream_decoder import StreamDecoder
from rootlm.tokenizers.tokenizer_files import Roles
from rootlm.tokenizers.word_codec import WordCodec

SOURCE_TOKENIZER = "source_tokenizer"
"""The folder in a run that holds what reads its sources, where that is another tokenizer."""
_WHOLE_TEXTS = {"truncation": None, "padding": None}


class Tokenizer:
    """Encodes plain text, in which nothing is a special token; decodes ids, skipping special tokens.

    `content` is the text of a `tokenizer.json`, or that text parsed. `extra` are settings to keep beside it: a chat
    template, or the segmenter that cuts text into words.
    """

    def __init__(
        self, content: str | Mapping[str, Any], roles: Roles, extra: Mapping[str, Any] | None = None
    ) -> None:
        self.origin: Path | None = None
        """The file it was read from."""
        self._roles = roles
        self._extra = dict(extra or {})
        parsed = orjson.loads(content) if isinstance(content, str) else dict(content)
        self._spec: dict[str, Any] = {"added_tokens": []} | parsed | _WHOLE_TEXTS
        # Read from what `save` writes: numbers pass through one parser, however often they are saved.
        engine = read_engine(self._spec)
        engine.encode_special_tokens = True
        self._vocabulary: dict[str, int] = engine.get_vocab(with_added_tokens=True)
        pair = self._extra.get(PAIR)
        if pair:
            self._vocabulary = own_names(self._vocabulary, pair)
        self._names = {number: token for token, number in self._vocabulary.items()}
        self.eos_id = self._role_id("eos", roles.eos)
        self.bos_id = self._role_id("bos", roles.bos)
        self.pad_id = None if roles.pad is None else self._role_id("pad", roles.pad)
        self.unk_id = None if roles.unk is None else self._role_id("unk", roles.unk)
        marked = {token["id"] for token in self._spec["added_tokens"] if token["special"]}
        marked |= {self.bos_id, self.eos_id} | ({self.pad_id} if self.pad_id is not None else set())
        self.mask_id = self._find_mask(marked)
        self._skipped = frozenset(marked)
        self.special_ids: frozenset[int] = frozenset(marked - {self.unk_id})
        """Ids that only a caller adds, never plain text; text does make `unk_id`, so it is not among them."""
        pieces = PieceCodec(engine, self._spec, self.special_ids, self._skipped, self._normalizer())
        self._codec: PieceCodec | WordCodec | PairCodec = pieces
        if pair and self.unk_id is not None:
            self._codec = PairCodec(pieces, self._vocabulary, self.unk_id, pair["known"])
        if self._extra.get("segmenter"):
            self._codec = self._word_codec()

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        bos: str | None = None,
        eos: str | None = None,
        pad: str | None = None,
        pattern: str | None = None,
    ) -> Tokenizer:
        """Read a folder or a file: `tokenizer.json`, or the files of another library that say the same.

        `bos`, `eos` and `pad` name what it does not tell (an empty `pad`: nothing fills rows), `pattern` how the
        text of a file of ranks is cut.
        Raises ValueError naming the file when it is absent, torn, not known to us, or does not say what ends a
        document.
        """
        found = find_tokenizer(path, pattern=pattern)
        asked = {"bos": bos, "eos": eos, "pad": pad}
        try:
            roles = tokenizer_files.find_roles(found.settings, found.spec, asked, path)
            parsed = found.file.suffix == ".json"  # else made here, of parts that its text may say otherwise
            content = found.spec if parsed else orjson.dumps(found.spec).decode()
            tokenizer = cls(content, roles, tokenizer_files.kept(found.settings))
        except ValueError as error:
            place = str(path)
            raise error if str(error).startswith(place) else ValueError(f"{place}: {error}") from error
        tokenizer.origin = found.file
        return tokenizer

    def with_special(self, names: Sequence[str], **roles: str) -> Tokenizer:
        """Return the tokenizer with more special tokens, which no text makes, behind all others; those it has stay.

        `roles` are written to `tokenizer_config.json`, such as mask_token.
        """
        missing = [name for name in names if name not in self._vocabulary]
        if not missing:
            return self
        plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        added = [{"id": self.vocab_size + n, "content": name, **plain} for n, name in enumerate(missing)]
        spec = {**self._spec, "added_tokens": [*self._spec["added_tokens"], *added]}
        return Tokenizer(orjson.dumps(spec).decode(), self._roles, {**self._extra, **roles})

    def ids_of(self, names: Sequence[str]) -> list[int]:
        """Return the ids of tokens by their names; raises ValueError naming one that is missing."""
        return [self._role_id("special", name) for name in names]

    def beginning_with(self, token_id: int) -> Tokenizer:
        """Return the tokenizer with another begin mark; raises ValueError for an id that has no token."""
        if token_id == self.bos_id:
            return self
        roles = replace(self._roles, bos=self.name_of(token_id))
        found = Tokenizer(orjson.dumps(self._spec).decode(), roles, self._extra)
        found.origin = self.origin
        return found

    def with_mask(self) -> Tokenizer:
        """Return the tokenizer with a token that hides others, which no text makes; itself when it has one."""
        if self.mask_id is not None:
            return self
        masked = self.with_special((MASK,), mask_token=MASK)
        if masked.mask_id != self.vocab_size:
            raise ValueError(f"the tokenizer has no id free for {MASK}; train one with tokenizer.kind=bpe")
        return masked

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
        segmenter = [self._extra.get("segmenter"), self._extra.get("segmenter_check")]
        decisive = {"spec": self._spec, "roles": asdict(self._roles), "segmenter": segmenter}
        if piece_normalizer.SETTING in self._extra:
            decisive[piece_normalizer.SETTING] = self._extra[piece_normalizer.SETTING]
        return hashlib.sha256(orjson.dumps(decisive, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def lossless(self) -> bool:
        """Whether decoding what was encoded gives back any text, byte for byte."""
        return self._codec.lossless

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text, with no begin or end; text that spells a special token stays text."""
        return self._codec.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, the same as `encode` gives, on all cores."""
        return self._codec.encode_batch(texts)

    def encode_marked(self, text: str) -> list[int]:
        """Return the ids of a text that a template wrote: the names of special tokens in it become those tokens."""
        return self._codec.encode_marked(text)

    @cached_property
    def chat_templates(self) -> dict[str, str]:
        """The sources of its chat templates by name; the usual one is `default`."""
        return named_templates(self._extra.get("chat_template"))

    def render(
        self,
        messages: Iterable[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        template: str | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> Rendered:
        """Write a conversation down as its chat template says; `encode_marked` turns the text into ids.

        Raises ValueError where there is no such template, or with the template's own words where it refuses.
        """
        chosen = choose(self.chat_templates, template, with_tools=tools is not None)
        tokens = self._extra.get("chat_tokens") or {
            "bos_token": self._roles.bos,
            "eos_token": self._roles.eos,
        }
        return chosen.render(
            messages,
            tools=tools,
            add_generation_prompt=add_generation_prompt,
            tokens=tokens,
            variables=variables,
        )

    @cached_property
    def frame(self) -> tuple[list[int], list[int]]:
        """The ids that stand before and after a text that is read whole, as its own file says; else a begin mark.

        Published encoders have learned to read a text between two marks, such as [CLS] and [SEP].
        """
        habit = self._habit
        return habit if habit is not None and any(habit) else ([self.bos_id], [])

    @cached_property
    def begins(self) -> list[int]:
        """The ids that stand before a text that is to be continued, as its own files say; else a begin mark."""
        said = self.asked_to_begin
        if said is None and self._habit is not None:
            return self._habit[0]
        return [self.bos_id] if said is None or said else []

    def prompt(self, text: str) -> list[int]:
        """Return the ids of a text that is to be continued, with what stands before it; of nothing, a begin mark."""
        return [*self.begins, *self.encode(text)] or [self.bos_id]

    @property
    def asked_to_begin(self) -> bool | None:
        """Whether a begin mark stands before texts, where its settings say so; `tokenizer.json` may say it, too."""
        said: bool | None = self._extra.get(framing.SETTING)
        return said

    @property
    def says_how_texts_begin(self) -> bool:
        """Whether its files say what stands before a text."""
        return self._habit is not None or self.asked_to_begin is not None

    def with_begin(self, *, marked: bool) -> Tokenizer:
        """Return the tokenizer with or without a begin mark before texts that are to be continued."""
        extra = {**self._extra, framing.SETTING: marked}
        found = Tokenizer(orjson.dumps(self._spec).decode(), self._roles, extra)
        found.origin = self.origin
        return found

    @cached_property
    def _habit(self) -> tuple[list[int], list[int]] | None:
        return framing.habit_of(self._spec)

    def framed(self, ids: Sequence[int]) -> list[int]:
        """Return the ids of a text with what stands before and after it."""
        before, after = self.frame
        return [*before, *ids, *after]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; special tokens are skipped, bytes that are no character become U+FFFD."""
        return self._codec.decode([self._known(number) for number in ids])

    def stream(self) -> StreamDecoder:
        """Return a decoder that takes ids one at a time and never tears a character."""
        return self._codec.stream()

    def token_text(self, token_id: int) -> str:
        """Return one token for a person to read: controls escaped, parts of a character as `<0xE5>`."""
        return "".join(map(_visible, self._codec.token_text(self._known(token_id))))

    def name_of(self, token_id: int) -> str:
        """Return a token as `tokenizer.json` spells it; raises ValueError for an id that has none."""
        return str(self._names[self._known(token_id)])

    def knows(self, token_id: int) -> bool:
        """Whether the id belongs to a token; published vocabularies have holes."""
        return token_id in self._names

    def unknown(self, count: int) -> frozenset[int]:
        """Return those of the first `count` ids that belong to no token."""
        return frozenset(range(count)).difference(self._names)

    @property
    def knows_words(self) -> bool:
        """Whether every token is a whole word or mark."""
        return isinstance(self._codec, WordCodec)

    @cached_property
    def byte_sizes(self) -> dict[int, int] | None:
        """The UTF-8 bytes that each id stands for; None for a tokenizer that does not keep every byte of a text."""
        if not self.lossless:
            return None
        texts = {number: self._codec.token_text(number) for number in self._names}
        return {number: len(text.encode("utf-8", "surrogateescape")) for number, text in texts.items()}

    @cached_property
    def merged_from(self) -> NDArray[np.int64]:
        """The two ids that each id was merged from, (vocab_size, 2), negative where no merge made it."""
        return merged_from(self._spec["model"], self.vocab_size)

    def lost_bytes(self, text: str) -> int:
        """Return how many UTF-8 bytes of `text` its ids do not determine: unknown, lower-cased, dropped."""
        return self._codec.lost_bytes(text)

    def __repr__(self) -> str:
        kind = self._spec["model"]["type"]
        return f"Tokenizer({kind}, vocab_size={self.vocab_size}, {self.fingerprint[:12]})"

    def _known(self, token_id: int) -> int:
        if token_id not in self._names:
            raise ValueError(f"id {token_id} is not in the tokenizer's vocabulary of {self.vocab_size}")
        return int(token_id)

    def _role_id(self, role: str, token: str) -> int:
        if token not in self._vocabulary:
            raise ValueError(f"{role} token {token!r} is not in the tokenizer's vocabulary; name one that is")
        return self._vocabulary[token]

    def _find_mask(self, special: set[int]) -> int | None:
        """Return the id of the token that hides others: the one named so, or one with the name that is usual."""
        named = self._extra.get("mask_token")
        name = named["content"] if isinstance(named, Mapping) else named
        known = (name,) if name else (MASK, "<mask>", "[MASK]")
        found = (self._vocabulary[one] for one in known if self._vocabulary.get(one) in special)
        return next(found, None)

    def _normalizer(self) -> PieceNormalizer | None:
        settings = self._extra.get(piece_normalizer.SETTING)
        return PieceNormalizer(self._spec, settings) if settings else None

    def _word_codec(self) -> WordCodec:
        name, check = self._extra["segmenter"], self._extra.get("segmenter_check")
        if name not in word_codec.CUTS or self.unk_id is None:
            known = " and ".join(map(repr, word_codec.CUTS))
            raise ValueError(f"segmenter {name!r} is not known; rootlm has {known}")
        if check != word_codec.segmenter_check(name):
            raise ValueError(
                f"the installed {name} cuts words in another way than when this tokenizer was trained; "
                "install the version of that time"
            )
        return WordCodec(self._vocabulary, self.unk_id, self._skipped, word_codec.CUTS[name])


def _visible(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"<0x{ord(character) - 0xDC00:02X}>"
    if character == " " or character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
