"""The bytes that each token stands for, read from a tokenizer's own decoder; and whether no text is lost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Spec = Mapping[str, Any]
_BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")
_KEEPING_SPLITS = ("Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""The names of bytes that stand in for a character without an entry."""
UNBOUNDED = 1_000_000_000
"""A WordPiece limit on characters per word that no word reaches."""


@dataclass(frozen=True)
class TokenBytes:
    """What each id says, where that does not depend on its neighbours."""

    table: Mapping[int, bytes]
    drops_first_space: bool
    """The decoder takes one space from the start of the whole text, as SentencePiece does."""


def byte_letters() -> dict[str, int]:
    """Return the 256 letters that byte-level tokenizers write for the 256 bytes (Radford et al. 2019).

    >>> byte_letters()["Ġ"], byte_letters()["a"]
    (32, 97)
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(hidden)
    }


def token_bytes(spec: Spec, vocabulary: Mapping[str, int], skipped: frozenset[int]) -> TokenBytes | None:
    """Return the bytes of every token, or None when the decoder looks at more than one token.

    `spec` is the parsed `tokenizer.json`; ids in `skipped` say nothing.
    """
    steps = _steps(spec.get("decoder"))
    added = {token["id"] for token in spec["added_tokens"]}
    table: dict[int, bytes] = {}
    drops = False
    for step in steps:
        kind = step["type"]
        known = kind in ("ByteLevel", "ByteFallback", "Fuse", "Metaspace") or (
            kind == "Replace" and "String" in step["pattern"]
        )
        if kind == "Strip" and step["content"] == " " and step["start"] == 1 and step["stop"] == 0:
            drops = True
        elif not known:
            return None
        if kind == "Metaspace" and step.get("prepend_scheme", "always") != "never":
            drops = True
    if not any(step["type"] in ("ByteLevel", "Fuse", "Metaspace") for step in steps):
        return None
    letters = byte_letters()
    for token, number in vocabulary.items():
        if number in skipped:
            table[number] = b""
        else:
            table[number] = token.encode() if number in added else _bytes_of(token, steps, letters)
    return TokenBytes(table, drops)


def keeps_everything(spec: Spec, vocabulary: Mapping[str, int]) -> bool:
    """Say whether the pipeline can lose no text: no step rewrites or drops any, no character is unknown."""
    in_text = [token for token in spec["added_tokens"] if not token["special"]]
    if spec.get("normalizer") is not None or any(token["lstrip"] or token["rstrip"] for token in in_text):
        return False
    steps = _steps(spec.get("pre_tokenizer"))
    return all(_keeps(step) for step in steps) and _knows_all_bytes(spec, steps, vocabulary)


def _keeps(step: Spec) -> bool:
    kind = step["type"]
    if kind == "ByteLevel":
        return not step["add_prefix_space"]
    if kind in ("Split", "Punctuation"):
        return step["behavior"] in _KEEPING_SPLITS
    return kind in ("Digits", "UnicodeScripts", "FixedLength")


def _knows_all_bytes(spec: Spec, steps: list[Spec], vocabulary: Mapping[str, int]) -> bool:
    model = spec["model"]
    if any(step["type"] == "ByteLevel" for step in steps):
        letters = byte_letters()
        if model["type"] == "WordPiece":
            prefix = model["continuing_subword_prefix"]
            known = all(letter in vocabulary and prefix + letter in vocabulary for letter in letters)
            apart = letters.keys().isdisjoint(prefix)
            return apart and known and model["max_input_chars_per_word"] >= UNBOUNDED
        return model["type"] in ("BPE", "Unigram") and all(letter in vocabulary for letter in letters)
    return bool(model.get("byte_fallback")) and all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))


def _steps(part: Spec | None) -> list[Spec]:
    """Flatten a `tokenizer.json` component into its simple steps."""
    if part is None:
        return []
    if part["type"] == "Sequence":
        children = part.get("decoders") or part.get("pretokenizers") or []
        return [step for child in children for step in _steps(child)]
    return [part]


def _bytes_of(token: str, steps: list[Spec], letters: Mapping[str, int]) -> bytes:
    text = token
    for step in steps:
        if step["type"] == "Replace":
            text = text.replace(step["pattern"]["String"], step["content"])
        elif step["type"] == "Metaspace":
            text = text.replace(step["replacement"], " ")
        elif step["type"] == "ByteFallback" and (piece := _BYTE_PIECE.fullmatch(text)):
            return bytes([int(piece.group(1), 16)])
        elif step["type"] == "ByteLevel" and all(letter in letters for letter in text):
            return bytes(letters[letter] for letter in text)
    return text.encode()
