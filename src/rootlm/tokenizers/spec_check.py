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
_CHILDREN = ("normalizers", "pretokenizers", "decoders")


def check_spec(spec: Mapping[str, Any], place: Path) -> None:
    """Raise ValueError naming `place` and the part that is not known or the merge whose tokens are missing."""
    for name, known in _KNOWN.items():
        for part in _parts(spec.get(name)):
            kind = part.get("type")
            if kind not in known:
                raise ValueError(f"{place}: {name} {kind!r} is not known; rootlm has {', '.join(known)}")
    model = spec["model"]
    if not isinstance(model.get("vocab"), dict | list) or not model["vocab"]:
        raise ValueError(f"{place}: the model has no vocabulary; the file is torn")
    if model["type"] == "BPE" and not model.get("continuing_subword_prefix"):
        merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model.get("merges", ())]
        try:
            check_merges(model["vocab"], merges)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error


def _parts(part: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield a part, or what a sequence of parts holds."""
    if part is None:
        return
    children = next((part[key] for key in _CHILDREN if key in part), None)
    if part.get("type") != "Sequence" or children is None:
        yield part
        return
    for child in children:
        yield from _parts(child)
