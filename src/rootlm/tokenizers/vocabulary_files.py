"""`vocab.json` with `merges.txt`, and `vocab.txt`: the files of GPT-2, RoBERTa, Qwen and of BERT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from rootlm.tokenizers.added_tokens import token_name
from rootlm.tokenizers.byte_pair_spec import byte_pair_spec
from rootlm.tokenizers.split_patterns import QWEN

Spec = dict[str, Any]
Settings = Mapping[str, Any]
MERGES = "merges.txt"
_QWEN_CLASSES = ("Qwen2Tokenizer", "Qwen3Tokenizer")
_SPECIAL_NAMES = 512
_LONGEST_WORD = 100
# Of BERT: a longer word is unknown as a whole.


def merged_spec(vocabulary_file: Path, settings: Settings) -> Spec:
    """Return the parsed `tokenizer.json` of `vocab.json` and the `merges.txt` beside it."""
    vocabulary = _numbered_names(vocabulary_file)
    merges_file = vocabulary_file.with_name(MERGES)
    merges = _merges(merges_file)
    _refuse_cut(merges_file, vocabulary, merges)
    qwen = _plain_class(settings) in _QWEN_CLASSES
    try:
        return byte_pair_spec(
            vocabulary,
            merges,
            pattern=QWEN if qwen else None,
            composed=qwen,
            add_prefix_space=bool(settings.get("add_prefix_space", False)),
        )
    except ValueError as error:
        place = merges_file if str(error).startswith("merge ") else vocabulary_file
        raise ValueError(f"{place}: {error}") from error


def word_piece_spec(path: Path, settings: Settings) -> Spec:
    """Return the parsed `tokenizer.json` of a `vocab.txt`, one piece a line.

    Whether letters are lower-cased is said by `do_lower_case` in the settings; where they are silent, a vocabulary
    with capital letters is taken as cased.
    """
    lines = _text(path).split("\n")
    if lines and not lines[-1]:
        lines.pop()
    vocabulary: dict[str, int] = {}
    for number, line in enumerate(lines):
        name = line.removesuffix("\r")
        if name in vocabulary:
            raise ValueError(
                f"{path}:{number + 1}: {name!r} was given before, in line {vocabulary[name] + 1}; "
                "each line is one token"
            )
        vocabulary[name] = number
    unknown = token_name(settings.get("unk_token")) or "[UNK]"
    if unknown not in vocabulary:
        raise ValueError(f"{path}: {unknown!r}, which stands for unknown words, is missing; the file is torn")
    capital = any(name != name.lower() for name in vocabulary if not (name[:1] == "[" and name[-1:] == "]"))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": bool(settings.get("tokenize_chinese_chars", True)),
            "strip_accents": settings.get("strip_accents"),
            "lowercase": bool(settings.get("do_lower_case", not capital)),
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": unknown,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": _LONGEST_WORD,
            "vocab": vocabulary,
        },
    }


def _numbered_names(path: Path) -> dict[str, int]:
    """Read a JSON of names with ids from 0 on without a gap."""
    try:
        found = orjson.loads(_text(path))
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); the file is torn") from error
    if not isinstance(found, dict) or not all(type(number) is int for number in found.values()):
        raise ValueError(f"{path}: not a vocabulary: expected an object of tokens with their ids")
    names: dict[int, str] = {}
    for name, number in found.items():
        if number in names:
            raise ValueError(
                f"{path}: {names[number]!r} and {name!r} both have id {number}; each needs its own"
            )
        names[number] = name
    missing = next((number for number in range(len(names)) if number not in names), None)
    if missing is not None:
        raise ValueError(f"{path}: no token has id {missing}, though ids go up to {max(names)}; it has holes")
    return found


def _merges(path: Path) -> list[tuple[str, str]]:
    """Read a pair of tokens a line; the first line may say a version."""
    pairs = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        words = line.removesuffix("\r").split(" ")
        if words == [""] or (number == 1 and line.startswith("#version")):
            continue
        if len(words) != 2:
            raise ValueError(f"{path}:{number}: expected two tokens with a space between, found {line!r}")
        pairs.append((words[0], words[1]))
    return pairs


def _refuse_cut(path: Path, vocabulary: Mapping[str, int], merges: list[tuple[str, str]]) -> None:
    """Special names have no merge; when far more entries have none, the file ends too early."""
    made = {left + right for left, right in merges}
    without = sum(1 for name in vocabulary if len(name) > 1 and name not in made)
    if without > _SPECIAL_NAMES + len(vocabulary) // 100:
        raise ValueError(
            f"{path}: {len(merges)} merges make {len(made)} of {len(vocabulary)} tokens, {without} are left "
            "without one; the file is cut short or belongs to another vocabulary"
        )


def _plain_class(settings: Settings) -> str:
    return str(settings.get("tokenizer_class") or "").removesuffix("Fast")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); it belongs beside the other") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
