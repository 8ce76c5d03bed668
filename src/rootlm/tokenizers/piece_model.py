"""A SentencePiece `.model` file: its pieces, and what is done to a text before they are looked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from rootlm.tokenizers.protobuf_fields import contents, fields, signed, single, text
from rootlm.tokenizers.token_bytes import BYTE_PIECES


class Kind(IntEnum):
    """What a piece is for, numbered as the file numbers it."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary; its place is its id."""

    name: str
    score: float = 0.0
    kind: Kind = Kind.NORMAL


@dataclass(frozen=True)
class PieceModel:
    """All that decides the ids of a text (Kudo and Richardson 2018)."""

    pieces: Sequence[Piece]
    algorithm: str
    """`unigram` or `bpe`."""
    charsmap: bytes = b""
    """The precompiled rules that rewrite characters; empty where none are rewritten."""
    add_dummy_prefix: bool = True
    remove_extra_whitespaces: bool = True
    byte_fallback: bool = False
    special_ids: dict[str, int] = field(default_factory=dict)
    """Which piece plays the role of unk, bos, eos and pad; a role that none plays is absent."""

    @property
    def unknown_id(self) -> int:
        """The id of what has no piece."""
        return self.special_ids["unk"]


_ALGORITHMS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
_ROLE_FIELDS = {40: ("unk", 0), 41: ("bos", 1), 42: ("eos", 2), 43: ("pad", -1)}


def read_piece_model(path: Path) -> PieceModel:
    """Read a `.model` file; raises ValueError naming it when it is cut short or asks for what we do not have."""
    try:
        model = parse_piece_model(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: a piece is no UTF-8 ({error.reason}); the file is torn") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}; is it a whole SentencePiece model?") from error
    try:
        check_piece_model(model)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return model


def parse_piece_model(message: bytes) -> PieceModel:
    """Return what the bytes of a `.model` file say; raises ValueError where they are torn."""
    pieces: list[Piece] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    denormalizer: dict[int, int | bytes] = {}
    for number, value in fields(message):
        if number == 1:
            pieces.append(_piece(contents(value)))
        elif number in (2, 3, 5):
            {2: trainer, 3: normalizer, 5: denormalizer}[number].update(fields(contents(value)))
    if not pieces or not trainer or not normalizer:
        part = "pieces" if not pieces else "settings of the trainer" if not trainer else "normalizer"
        raise ValueError(f"it holds no {part}")
    for settings, number, what in (
        (trainer, 24, "white space at the end of words (treat_whitespace_as_suffix)"),
        (denormalizer, 2, "rules that rewrite what is decoded (denormalizer_spec)"),
    ):
        if settings.get(number):
            raise ValueError(f"{what} are not supported; convert it to a tokenizer.json elsewhere")
    if not normalizer.get(5, 1):
        raise ValueError("white space that is not written ▁ (escape_whitespaces=false) is not supported")
    roles = {name: signed(trainer.get(number, default)) for number, (name, default) in _ROLE_FIELDS.items()}
    return PieceModel(
        pieces,
        _ALGORITHMS.get(signed(trainer.get(3, 1)), "unknown"),
        contents(normalizer.get(2, b"")),
        bool(normalizer.get(3, 1)),
        bool(normalizer.get(4, 1)),
        bool(trainer.get(35, 0)),
        {name: number % 2**32 for name, number in roles.items() if number % 2**32 < 2**31},
    )


def check_piece_model(model: PieceModel) -> None:
    """Raise ValueError where ids would be doubtful: double pieces, roles without a piece, unknown algorithms."""
    if model.algorithm not in ("unigram", "bpe"):
        raise ValueError(
            f"pieces of the kind {model.algorithm!r} are not supported; only unigram and bpe are"
        )
    counts = Counter(piece.name for piece in model.pieces)
    double = next((name for name, count in counts.items() if count > 1), None)
    if double is not None:
        places = [place for place, piece in enumerate(model.pieces) if piece.name == double]
        raise ValueError(f"the piece {double!r} has two ids, {places[0]} and {places[1]}; export it anew")
    for role, number in model.special_ids.items():
        if number >= len(model.pieces):
            raise ValueError(f"{role} is piece {number}, but there are only {len(model.pieces)} pieces")
    unknown = model.special_ids.get("unk")
    if unknown is None or model.pieces[unknown].kind != Kind.UNKNOWN:
        raise ValueError("no piece stands for what is unknown; a SentencePiece model must have one")
    unused = next((piece.name for piece in model.pieces if piece.kind == Kind.UNUSED), None)
    if unused is not None:
        raise ValueError(f"the piece {unused!r} is marked unused, which is not supported; export it without")
    absent = [name for name in BYTE_PIECES if name not in counts] if model.byte_fallback else []
    if absent:
        raise ValueError(f"bytes stand in for unknown characters, but the piece {absent[0]} is missing")


def _piece(message: bytes) -> Piece:
    found = dict(fields(message))
    kind = signed(found.get(3, 1))
    if kind not in tuple(Kind):
        raise ValueError(f"a piece is of the unknown kind {kind}")
    score = single(found[2]) if 2 in found else 0.0
    return Piece(text(found.get(1, b"")), score, Kind(kind))
