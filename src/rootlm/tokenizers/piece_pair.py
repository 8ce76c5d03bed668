"""Marian's tokenizers: a SentencePiece model for each side, and the ids of both in a `vocab.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rootlm.tokenizers.added_tokens import added_token
from rootlm.tokenizers.piece_codec import PieceCodec
from rootlm.tokenizers.piece_model import Kind, PieceModel, read_piece_model
from rootlm.tokenizers.piece_pipeline import piece_spec
from rootlm.tokenizers.stream_decoder import StreamDecoder

SOURCE, TARGET = "source.spm", "target.spm"
FILES = (
    SOURCE,
    TARGET,
    "vocab.json",
    "target_vocab.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
)
"""All that `transformers` needs to open them; the last three need not be there."""
PAIR = "piece_pair"
"""Where `tokenizer_config.json` says how many ids there are; what the engine numbers higher is unknown."""
_HIDDEN = " "
# Begins the names of ids that this side's model does not cut: a text has no space left when pieces are looked for.
_CODE = re.compile(r">>[^<]*<<")


def is_pair(folder: Path) -> bool:
    """Tell whether a folder holds such tokenizers."""
    return (folder / SOURCE).is_file() and (folder / TARGET).is_file()


def pair_spec(file: Path) -> tuple[dict[str, Any], dict[str, int], PieceModel]:
    """Return the parsed `tokenizer.json` of one side, what goes under `PAIR`, and the model.

    `file` is one of the two models. Raises ValueError naming the file that is missing, torn or not supported.
    """
    model = read_piece_model(file)
    if model.algorithm != "unigram":
        raise ValueError(
            f"{file}: pieces of the kind {model.algorithm!r} beside a vocab.json are not supported"
        )
    apart = file.with_name("target_vocab.json")
    vocabulary = apart if file.name == TARGET and apart.is_file() else file.with_name("vocab.json")
    names = _numbered(vocabulary)
    for needed in ("</s>", "<unk>"):
        if needed not in names:
            raise ValueError(f"{vocabulary}: {needed} is missing; the file is torn or not Marian's")
    spec = piece_spec(model)
    entries: list[list[Any]] = spec["model"]["vocab"]
    pieces = {piece.name for piece in model.pieces if piece.kind == Kind.NORMAL}
    scores = {name: score for name, score in entries if name in pieces}
    least, marks = min(scores.values(), default=0.0), ("</s>", "<unk>", "<pad>")
    known = [
        [name if name in scores or name in marks else _HIDDEN + name, scores.get(name, least)]
        for name in names
    ]
    unknown = [[name, score] for name, score in scores.items() if name not in names]
    ids = {name: number for number, name in enumerate(names)}
    spec["model"] |= {"vocab": [*known, *unknown], "unk_id": ids["<unk>"]}
    spec["added_tokens"] = sorted(
        (added_token(ids[name], name, special=True) for name in marks if name in ids),
        key=lambda token: int(token["id"]),
    )
    shown = {"type": "Replace", "pattern": {"String": _HIDDEN}, "content": ""}
    spec["decoder"] = {"type": "Sequence", "decoders": [shown, *spec["decoder"]["decoders"]]}
    return spec, {"known": len(names)}, model


def own_names(vocabulary: Mapping[str, int], pair: Mapping[str, int]) -> dict[str, int]:
    """Return an engine's vocabulary as `vocab.json` has it."""
    return {
        name.removeprefix(_HIDDEN): number for name, number in vocabulary.items() if number < pair["known"]
    }


class PairCodec:
    """One side's pieces under the ids of both; `>>code<<` before a text is the token of a language."""

    def __init__(self, pieces: PieceCodec, names: Mapping[str, int], unknown: int, known: int) -> None:
        self._pieces, self._ids, self._unknown, self._known = pieces, names, unknown, known

    @property
    def lossless(self) -> bool:
        """Never: what one side cuts, the other need not be able to write."""
        return False

    def encode(self, text: str) -> list[int]:
        """Return the ids of one text."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        found = [_CODE.match(text) for text in texts]
        rests = [
            text if code is None else text[code.end() :] for text, code in zip(texts, found, strict=True)
        ]
        encoded = [
            ids if all(self._is_own(number) for number in ids) else self._by_name(rest)
            for rest, ids in zip(rests, self._pieces.encode_batch(rests), strict=True)
        ]
        codes = [[] if code is None else [self._ids.get(code[0], self._unknown)] for code in found]
        return [[*code, *ids] for code, ids in zip(codes, encoded, strict=True)]

    def _is_own(self, number: int) -> bool:
        return number < self._known and number != self._unknown

    def _by_name(self, text: str) -> list[int]:
        """Look up by their letters what this side's model does not know, for it may be a piece of the other's."""
        return [
            number if self._is_own(number) else self._ids.get(letters, self._unknown)
            for number, letters in self._pieces.spelt(text)
        ]

    def encode_marked(self, text: str) -> list[int]:
        """Return the ids of a text in which the names of special tokens are those tokens."""
        return [
            number if number < self._known else self._unknown for number in self._pieces.encode_marked(text)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of known ids."""
        return self._pieces.decode(ids)

    def stream(self) -> StreamDecoder:
        """Return a decoder for ids that come one at a time."""
        return self._pieces.stream()

    def token_text(self, token_id: int) -> str:
        """Return a token's own text."""
        return self._pieces.token_text(token_id).removeprefix(_HIDDEN)

    def lost_bytes(self, text: str) -> int:
        """Return the bytes that a round trip does not bring back."""
        return self._pieces.lost_bytes(text)


def _numbered(file: Path) -> list[str]:
    """Return the names of a vocabulary in the order of their ids."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror}); copy it too") from error
    except ValueError as error:
        raise ValueError(f"{file}: not valid JSON ({error}); the file is torn") from error
    if not isinstance(content, dict) or sorted(content.values()) != list(range(len(content))):
        raise ValueError(f"{file}: expected names with the ids from 0 on, each once; the file is torn")
    return sorted(content, key=content.__getitem__)
