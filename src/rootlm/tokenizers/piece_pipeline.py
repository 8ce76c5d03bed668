"""From a SentencePiece model to a `tokenizer.json` that gives the same ids."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rootlm.tokenizers.added_tokens import added_token
from rootlm.tokenizers.character_rules import CharacterRules
from rootlm.tokenizers.merge_pairs import implied_merges
from rootlm.tokenizers.piece_model import Kind, Piece, PieceModel
from rootlm.tokenizers.piece_normalizer import SPACE

Spec = dict[str, Any]
_GUARDS = 0x10F000
# Private letters that stand for a symbol while the rules for characters pass over the text.
_MOST_GUARDS = 256


def piece_spec(model: PieceModel, *, prefix_once: bool = False) -> Spec:
    """Return the parsed `tokenizer.json` of a SentencePiece model.

    Control pieces become special tokens. With `prefix_once` a space is put before a text only where it begins with
    none, and not after each special token in it too. Raises ValueError where the engine cannot give the same ids.
    In a unigram model symbols that can be cut in two equally good ways, such as three line ends among which one
    and two are symbols, are cut in one of them.
    """
    prefix_once = prefix_once and model.add_dummy_prefix and not model.remove_extra_whitespaces
    guarded = _guarded(model)
    controls = [
        added_token(number, piece.name, special=True)
        for number, piece in enumerate(model.pieces)
        if piece.kind in (Kind.CONTROL, Kind.UNKNOWN)
    ]
    symbols = [
        # Looked for in the text as it was rewritten, so that a space before it is still a space.
        added_token(number, piece.name, special=False) | {"normalized": True}
        for number, piece in enumerate(model.pieces)
        if piece.kind == Kind.USER_DEFINED and model.algorithm == "bpe"
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted([*controls, *symbols], key=lambda token: int(token["id"])),
        "normalizer": {"type": "Sequence", "normalizers": _normalizers(model, guarded, not prefix_once)},
        "pre_tokenizer": _before_pieces(model, prefix_once),
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": _decoders(model)},
        "model": _unigram(model) if model.algorithm == "unigram" else _byte_pairs(model),
    }


def normal_form(model: PieceModel, *, prefix_once: bool = False) -> Spec:
    """Return what `PieceNormalizer` must know beside the pipeline."""
    return {
        "add_dummy_prefix": model.add_dummy_prefix,
        "prefix_once": prefix_once,
        "remove_extra_whitespaces": model.remove_extra_whitespaces,
        "symbols": [piece.name for piece in model.pieces if piece.kind == Kind.USER_DEFINED],
    }


def _normalizers(model: PieceModel, guarded: Sequence[str], prefix: bool) -> list[Spec]:
    steps = [_replace(name, chr(_GUARDS + place)) for place, name in enumerate(guarded)]
    if model.charsmap:
        charsmap = base64.b64encode(model.charsmap).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": charsmap})
    if model.remove_extra_whitespaces:
        steps += [_replace_regex(r" {2,}", " "), _replace_regex(rf"\A +|[ {SPACE}]+\z", "")]
    steps.append(_replace(" ", SPACE))
    steps += [_replace(chr(_GUARDS + place), name) for place, name in enumerate(guarded)]
    if model.add_dummy_prefix and prefix:
        symbols = [piece.name for piece in model.pieces if piece.kind == Kind.USER_DEFINED]
        if symbols and model.algorithm == "bpe":
            # A symbol alone stays as it is: the engine passes each one through here to learn how it looks.
            alone = "|".join(re.escape(name.replace(" ", SPACE)) for name in symbols)
            steps.append(_replace_regex(rf"\A(?=[\s\S])(?!(?:{alone})\z)", SPACE))
        else:
            steps.append({"type": "Prepend", "prepend": SPACE})
    return steps


def _decoders(model: PieceModel) -> list[Spec]:
    steps = [_replace(SPACE, " "), *([{"type": "ByteFallback"}] * model.byte_fallback), {"type": "Fuse"}]
    if model.add_dummy_prefix or model.remove_extra_whitespaces:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return steps


def _unigram(model: PieceModel) -> Spec:
    """The scores of the file; a user's symbol is worth more than any other way to write its letters."""
    normal = [piece.score for piece in model.pieces if piece.kind == Kind.NORMAL] or [0.0]
    least, best = min(normal), max(0.0, *normal)

    def score(piece: Piece) -> float:
        if piece.kind == Kind.NORMAL:
            return piece.score
        # The engine charges the least of all scores, less ten, for an unknown letter: none may be below.
        return len(piece.name.encode()) * best - 0.1 if piece.kind == Kind.USER_DEFINED else least

    return {
        "type": "Unigram",
        "unk_id": model.unknown_id,
        "vocab": [[piece.name, score(piece)] for piece in model.pieces],
        "byte_fallback": model.byte_fallback,
    }


def _before_pieces(model: PieceModel, prefix_once: bool) -> Spec | None:
    prefix = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "first", "split": False}
    steps = [step for step in (prefix if prefix_once else None, _cut_in_names(model)) if step is not None]
    return {"type": "Sequence", "pretokenizers": steps} if steps else None


def _cut_in_names(model: PieceModel) -> Spec | None:
    """Cut a text that spells the name of a byte or of the unknown, which the engine would take for it."""
    if model.algorithm == "bpe":
        return None
    names = [piece.name for piece in model.pieces if piece.kind in (Kind.BYTE, Kind.UNKNOWN) and piece.name]
    starts: dict[str, list[str]] = {}
    for name in names:
        starts.setdefault(name[0], []).append(re.escape(name[1:]))
    pattern = "|".join(f"{re.escape(first)}(?=(?:{'|'.join(rest)}))" for first, rest in starts.items())
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "MergedWithPrevious",
        "invert": False,
    }


def _byte_pairs(model: PieceModel) -> Spec:
    common = {piece.name: piece.score for piece in model.pieces if piece.kind == Kind.NORMAL}
    ranked = sorted(common, key=lambda name: -common[name])
    merges = implied_merges(ranked, common)
    _refuse_ties(merges, common)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": model.pieces[model.unknown_id].name,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": model.byte_fallback,
        "ignore_merges": False,
        "vocab": {piece.name: number for number, piece in enumerate(model.pieces)},
        "merges": [list(pair) for pair in merges],
    }


def _refuse_ties(merges: list[tuple[str, str]], scores: Mapping[str, float]) -> None:
    """Two entries of one score that can want the same letters are joined from the left; merges cannot say so."""
    for _, tied in groupby(merges, key=lambda pair: scores["".join(pair)]):
        group = list(tied)
        begins = {left: left + right for left, right in group}
        for left, right in group:
            other = begins.get(right)
            if other is not None and other != left + right:
                raise ValueError(
                    f"the pieces {left + right!r} and {other!r} have one score, so that their order in a text "
                    "decides; use the tokenizer.json of this model instead"
                )


def _guarded(model: PieceModel) -> list[str]:
    """Return the symbols that the rules for characters would rewrite, longest first."""
    names = [piece.name for piece in model.pieces if piece.kind == Kind.USER_DEFINED]
    rules = CharacterRules(model.charsmap) if model.charsmap else None
    changed = [
        name
        for name in names
        if (rules is not None and rules.apply(name) != name)
        or (model.remove_extra_whitespaces and (name.strip(" " + SPACE) != name or "  " in name))
    ]
    if len(changed) > _MOST_GUARDS:
        raise ValueError(
            f"{len(changed)} symbols are rewritten by its own rules for characters, such as {changed[0]!r}; "
            f"at most {_MOST_GUARDS} can be; use the tokenizer.json of this model instead"
        )
    return sorted(changed, key=len, reverse=True)


def _replace(pattern: str, content: str) -> Spec:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def _replace_regex(pattern: str, content: str) -> Spec:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
