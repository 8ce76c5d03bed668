"""The tokenizer within a GGUF file, as the text of a `tokenizer.json` that gives the ids that llama.cpp gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rootlm.models.foreign.gguf_splitters import SPLITTERS, cutter

Settings = Mapping[str, Any]
Spec = dict[str, Any]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""What an entry is, by GGUF's numbers."""
KEY = "tokenizer.ggml."
SPACE = "▁"


def read_tokenizer(settings: Settings, vocab_size: int, place: str) -> str | None:
    """Return the text of `tokenizer.json`, None for a file without a tokenizer.

    Raises ValueError for one that is not as large as the embedding, holds an entry twice, or is of a kind that
    is not read.
    """
    model = settings.get(f"{KEY}model")
    if model in (None, "none", "no_vocab"):
        return None
    if model not in ("gpt2", "llama"):
        raise ValueError(f"{place}: tokenizer.ggml.model={model!r} is not read; gpt2 and llama are")
    tokens = settings.get(f"{KEY}tokens") or []
    if len(tokens) != vocab_size:
        raise ValueError(
            f"{place}: the tokenizer has {len(tokens):,} entries and the embedding {vocab_size:,} rows; "
            "the file was put together wrongly"
        )
    kinds = settings.get(f"{KEY}token_type") or [NORMAL] * len(tokens)
    if len(kinds) != len(tokens):
        raise ValueError(f"{place}: {KEY}token_type has {len(kinds):,} values for {len(tokens):,} entries")
    vocabulary = _vocabulary(tokens, kinds, place)
    parts = (
        _byte_pairs(settings, vocabulary, place)
        if model == "gpt2"
        else _pieces(settings, tokens, kinds, place)
    )
    spec = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(tokens, kinds),
        **parts,
        "post_processor": _frame(settings, tokens, place, starts=model == "llama"),
    }
    spec["model"]["vocab"] = vocabulary
    return json.dumps(spec, ensure_ascii=False)


def _vocabulary(tokens: Sequence[str], kinds: Sequence[int], place: str) -> dict[str, int]:
    """Return entries by their text, without those that only fill the embedding up to a round number."""
    found: dict[str, int] = {}
    for number, token in enumerate(tokens):
        if kinds[number] == UNUSED and token == filler(number):
            continue
        if token in found:
            raise ValueError(
                f"{place}: entries {found[token]} and {number} are both {token!r}; the file is damaged"
            )
        found[token] = number
    return found


def filler(number: int) -> str:
    """Return the name of an entry that only fills the embedding."""
    return f"[PAD{number}]"


def _added(tokens: Sequence[str], kinds: Sequence[int]) -> list[Spec]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": number, "content": token, **flags, "special": kinds[number] != USER_DEFINED}
        for number, token in enumerate(tokens)
        if kinds[number] in (CONTROL, USER_DEFINED, UNKNOWN) and token
    ]


def _byte_pairs(settings: Settings, vocabulary: Mapping[str, int], place: str) -> Spec:
    name = settings.get(f"{KEY}pre")
    if name not in SPLITTERS:
        raise ValueError(
            f"{place}: tokenizer.ggml.pre={name!r} is not known; rootlm knows {', '.join(SPLITTERS)}"
        )
    splitter = SPLITTERS[name]
    merges = [_pair(merge, place) for merge in settings.get(f"{KEY}merges") or ()]
    for pair in merges:
        if not (pair[0] in vocabulary and pair[1] in vocabulary and "".join(pair) in vocabulary):
            raise ValueError(f"{place}: the merge {' '.join(pair)!r} makes or needs what is no entry")
    return {
        "normalizer": None,
        "pre_tokenizer": cutter(splitter),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": _bpe(merges, ignore_merges=splitter.ignore_merges),
    }


def _pair(merge: str, place: str) -> tuple[str, str]:
    # A piece may itself begin with a space; the dividing one is never the first.
    cut = merge.find(" ", 1)
    if cut < 0:
        raise ValueError(f"{place}: the merge {merge!r} names no two entries; the file is damaged")
    return merge[:cut], merge[cut + 1 :]


def _bpe(merges: list[tuple[str, str]], **more: Any) -> Spec:
    plain = {
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
    }
    flags = {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    return {"type": "BPE", **plain, **flags, **more, "merges": [list(pair) for pair in merges]}


def _pieces(settings: Settings, tokens: Sequence[str], kinds: Sequence[int], place: str) -> Spec:
    """Return a SentencePiece model of pairs: joined in the order of their scores, rare characters as bytes."""
    scores = settings.get(f"{KEY}scores") or []
    if len(scores) != len(tokens):
        raise ValueError(f"{place}: {KEY}scores has {len(scores):,} values for {len(tokens):,} entries")
    if settings.get(f"{KEY}remove_extra_whitespaces"):
        raise ValueError(f"{place}: {KEY}remove_extra_whitespaces is not supported")
    prefix = settings.get(f"{KEY}add_space_prefix", True)
    known = {token: number for number, token in enumerate(tokens) if kinds[number] == NORMAL}
    unknown = next((token for token, kind in zip(tokens, kinds, strict=True) if kind == UNKNOWN), None)
    steps: list[Spec] = [{"type": "Prepend", "prepend": SPACE}] if prefix else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*steps, _replace(" ", SPACE)]},
        "pre_tokenizer": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [_replace(SPACE, " "), {"type": "ByteFallback"}, {"type": "Fuse"}, *strip],
        },
        "model": _bpe(_joins(known, scores), unk_token=unknown, fuse_unk=True, byte_fallback=True),
    }


def _joins(known: Mapping[str, int], scores: Sequence[float]) -> list[tuple[str, str]]:
    """Return every way to make an entry from two others, best score first, the longest left part first."""
    ranked = sorted(known, key=lambda token: -scores[known[token]])
    return [
        (token[:cut], token[cut:])
        for token in ranked
        for cut in range(len(token) - 1, 0, -1)
        if token[:cut] in known and token[cut:] in known
    ]


def _replace(pattern: str, content: str) -> Spec:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def _frame(settings: Settings, tokens: Sequence[str], place: str, *, starts: bool) -> Spec | None:
    """Return what sets marks around a text."""
    # llama.cpp begins texts of these with a mark where the file does not say.
    starts = starts or settings.get(f"{KEY}pre") in ("llama-bpe", "llama3", "llama-v3", "falcon3", "tekken")
    parts: list[Spec] = [{"Sequence": {"id": "A", "type_id": 0}}]
    marks = {}
    for key, usual, first in (("bos", starts, True), ("eos", False, False)):
        if not settings.get(f"{KEY}add_{key}_token", usual):
            continue
        number = settings.get(f"{KEY}{key}_token_id", {"bos": 1, "eos": 2}[key])
        if not isinstance(number, int) or not 0 <= number < len(tokens):
            raise ValueError(f"{place}: {KEY}{key}_token_id is {number!r}, no entry of the tokenizer")
        name = tokens[number]
        parts.insert(0 if first else len(parts), {"SpecialToken": {"id": name, "type_id": 0}})
        marks[name] = {"id": name, "ids": [number], "tokens": [name]}
    if not marks:
        return None
    pair = parts + [
        {kind: {**value, "id": "B" if kind == "Sequence" else value["id"], "type_id": 1}}
        for part in parts
        for kind, value in part.items()
    ]
    return {"type": "TemplateProcessing", "single": parts, "pair": pair, "special_tokens": marks}
