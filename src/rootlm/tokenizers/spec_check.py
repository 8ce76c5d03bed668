"""Whether a `tokenizer.json` names only parts that we know, and only tokens that it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rootlm.tokenizers.byte_pair_spec import check_merges

_NORMALIZERS = (
    *("BertNormalizer", "ByteLevel", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled"),
    *("Prepend", "Replace", "Strip", "StripAccents"),
)
_PRE_TOKENIZERS = (
    *("BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Digits", "FixedLength", "Metaspace"),
    *("Punctuation", "Split", "UnicodeScripts", "Whitespace", "WhitespaceSplit"),
)
_DECODERS = (
    *("BPEDecoder", "ByteFallback", "ByteLevel", "CTC", "Fuse", "Metaspace", "Replace", "Strip", "WordPiece"),
)
_KNOWN = {
    "normalizer": _NORMALIZERS,
    "pre_tokenizer": _PRE_TOKENIZERS,
    "decoder": _DECODERS,
    "model": ("BPE", "Unigram", "WordLevel", "WordPiece"),
}
_CHILDREN = ("normalizers", "pretokenizers", "decoders", "processors")


def check_spec(spec: Mapping[str, Any], place: Path) -> None:
    """Raise ValueError naming `place` and the part that is not known or the merge whose tokens are missing."""
    _check_added(spec.get("added_tokens"), place)
    for name, known in _KNOWN.items():
        for part in _parts(spec.get(name)):
            kind = part.get("type") if isinstance(part, Mapping) else part
            if kind not in known:
                raise ValueError(f"{place}: {name} {kind!r} is not known; rootlm has {', '.join(known)}")
    for part in _parts(spec.get("post_processor")):
        _check_template(part, place)
    model = spec["model"]
    if not isinstance(model.get("vocab"), dict | list) or not model["vocab"]:
        raise ValueError(f"{place}: the model has no vocabulary; the file is torn")
    prefix = model.get("continuing_subword_prefix") or ""
    unknown = model.get("unk_token")
    if not isinstance(prefix, str) or not isinstance(unknown, str | None):
        raise ValueError(f"{place}: continuing_subword_prefix and unk_token must be texts; the file is torn")
    if model["type"] == "BPE":
        merges = model.get("merges")
        if not isinstance(merges, list) or not all(isinstance(pair, str | list) for pair in merges):
            raise ValueError(f"{place}: merges are no list of pairs; the file is torn")
        merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]
        try:
            check_merges(model["vocab"], merges, prefix)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error


def _parts(part: Any) -> Iterator[Any]:
    """Yield a part, or what a sequence of parts holds, whatever that is."""
    if part is None:
        return
    children = None
    if isinstance(part, Mapping) and part.get("type") == "Sequence":
        children = next((part[key] for key in _CHILDREN if key in part), None)
    if not isinstance(children, list):
        yield part
        return
    for child in children:
        yield from _parts(child)


def _check_template(part: Any, place: Path) -> None:
    """Raise ValueError where a text would be framed by tokens that have no ids: the engine dies of it."""
    if not isinstance(part, Mapping) or part.get("type") != "TemplateProcessing":
        return
    known = part.get("special_tokens")
    for key in ("single", "pair"):
        pieces = part.get(key)
        for piece in pieces if isinstance(pieces, list) else ():
            held = piece.get("SpecialToken") if isinstance(piece, Mapping) else None
            if held is None:
                continue
            name = held.get("id") if isinstance(held, Mapping) else held
            if not isinstance(known, Mapping) or not isinstance(name, str) or name not in known:
                raise ValueError(
                    f"{place}: post_processor sets {name!r} around texts, whose id it does not say"
                )


def _check_added(tokens: Any, place: Path) -> None:
    """Raise ValueError where one of the tokens beside the model's own has no text or no id."""
    if tokens is not None and not isinstance(tokens, list):
        raise ValueError(f"{place}: added_tokens are no list; the file is torn")
    for token in tokens or ():
        held = token if isinstance(token, Mapping) else {}
        name, number = held.get("content"), held.get("id")
        if not isinstance(name, str) or not name or isinstance(number, bool) or not isinstance(number, int):
            raise ValueError(
                f"{place}: added_tokens holds {token!r}, which has no text or no id; the file is torn"
            )
