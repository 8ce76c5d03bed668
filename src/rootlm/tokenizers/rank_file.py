"""Files of ranks as `tiktoken` reads them: a token in base64 and its rank on each line."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from rootlm.tokenizers.added_tokens import added_token
from rootlm.tokenizers.byte_pair_spec import byte_pair_spec
from rootlm.tokenizers.merge_pairs import implied_merges
from rootlm.tokenizers.split_patterns import ENCODINGS, Encoding
from rootlm.tokenizers.token_bytes import byte_letters

Spec = dict[str, Any]


def looks_like_ranks(path: Path) -> bool:
    """Whether the first line is a token in base64 and a number."""
    with path.open("rb") as stream:
        line = stream.readline(4096).split()
    return len(line) == 2 and line[1].isdigit() and _decoded(line[0]) is not None


def rank_spec(path: Path, encoding: Encoding) -> Spec:
    """Return the parsed `tokenizer.json` of a file of ranks; raises ValueError naming file and line.

    The special tokens of the encoding keep their ids where the file has as many ranks as the published one, else
    they stand behind the ranks.
    """
    # p50k_base leaves one rank in the middle free for its special token.
    ranks = _read(path, [number for number in encoding.special.values() if number < encoding.ranks])
    letters = {byte: letter for letter, byte in byte_letters().items()}
    vocabulary = {"".join(letters[byte] for byte in token): rank for token, rank in ranks.items()}
    merges = implied_merges(sorted(vocabulary, key=vocabulary.__getitem__), vocabulary)
    try:
        spec = byte_pair_spec(
            vocabulary, merges, pattern=encoding.pattern, composed=encoding.composed, whole_words=True
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    special = dict(encoding.special)
    if len(ranks) != encoding.ranks:
        special = {name: len(ranks) + place for place, name in enumerate(special)}
    spec["added_tokens"] = [added_token(number, name, special=True) for name, number in special.items()]
    return spec


def guess_encoding(path: Path) -> str:
    """Return the published encoding that a file is named after or counts as many ranks as.

    Raises ValueError naming the file where neither tells, or where the name and the count contradict each other.
    """
    with path.open("rb") as stream:
        count = sum(1 for line in stream if line.strip())
    stem = path.name.split(".")[0]
    if stem in ENCODINGS:
        if ENCODINGS[stem].ranks != count:
            raise ValueError(
                f"{path}: {count} ranks, but {stem} has {ENCODINGS[stem].ranks}; the file is cut short, or is "
                f"another: then say pattern={stem}"
            )
        return stem
    same = [name for name, encoding in ENCODINGS.items() if encoding.ranks == count]
    if not same:
        raise ValueError(
            f"{path}: ranks do not say how text is cut; pass pattern=… with a regular expression or one of "
            f"{', '.join(ENCODINGS)}"
        )
    return same[0]


def _read(path: Path, allowed: list[int]) -> dict[bytes, int]:
    ranks: dict[bytes, int] = {}
    places: dict[int, int] = {}
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            parts = line.split()
            token = _decoded(parts[0])
            if len(parts) != 2 or token is None or not parts[1].isdigit():
                raise ValueError(f"{path}:{number}: not a token in base64 and its rank; the file is torn")
            rank = int(parts[1])
            if token in ranks or rank in places:
                earlier = places[rank] if rank in places else places[ranks[token]]
                raise ValueError(f"{path}:{number}: token or rank {rank} was given before, in line {earlier}")
            ranks[token] = rank
            places[rank] = number
    missing = [rank for rank in range(max(places, default=0)) if rank not in places]
    if missing not in ([], allowed):
        raise ValueError(
            f"{path}: no token has rank {missing[0]}, though there are ranks up to {max(places)}; the file is torn"
        )
    return ranks


def _decoded(token: bytes) -> bytes | None:
    try:
        return base64.b64decode(token, validate=True) or None
    except binascii.Error:
        return None
