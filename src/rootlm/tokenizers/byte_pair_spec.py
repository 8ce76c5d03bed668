"""A `tokenizer.json` of byte pairs over the letters that stand for bytes, as GPT-2 and its heirs have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rootlm.tokenizers.token_bytes import byte_letters

Spec = dict[str, Any]


def byte_pair_spec(
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    *,
    pattern: str | None = None,
    add_prefix_space: bool = False,
    composed: bool = False,
    whole_words: bool = False,
) -> Spec:
    """Return the parsed `tokenizer.json`.

    `pattern` cuts the text; None is GPT-2's own way. `composed` asks for NFC before. With `whole_words` a word
    that is an entry needs no merges. Raises ValueError naming a byte without an entry, or a merge of tokens that
    are none.
    """
    letters = byte_letters()
    absent = next((letter for letter in letters if letter not in vocabulary), None)
    if absent is not None:
        raise ValueError(
            f"byte 0x{letters[absent]:02X} ({absent!r}) has no entry, so it is not a byte-level vocabulary; "
            "only those are supported"
        )
    check_merges(vocabulary, merges)
    spaced = {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True}
    before: Spec = spaced | {"use_regex": pattern is None}
    if pattern is not None:
        cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        before = {"type": "Sequence", "pretokenizers": [cut, before]}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "NFC"} if composed else None,
        "pre_tokenizer": before,
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": whole_words,
            "vocab": dict(vocabulary),
            "merges": [list(pair) for pair in merges],
        },
    }


def check_merges(vocabulary: Mapping[str, int], merges: Sequence[Sequence[str]], prefix: str = "") -> None:
    """Raise ValueError naming the first merge whose parts or result are no entries.

    `prefix` stands before each token that goes on within a word; the engine takes it away when it joins two, and
    dies where it is not there.
    """
    if not prefix and _all_known(vocabulary, merges):
        return
    for place, pair in enumerate(merges):
        if len(pair) != 2 or not all(isinstance(token, str) for token in pair):
            raise ValueError(f"merge {place}: {list(pair)} are not two tokens")
        if not pair[1].startswith(prefix):
            raise ValueError(
                f"merge {place}: {pair[1]!r} does not begin with {prefix!r}, which goes on within a word"
            )
        for token in (*pair, pair[0] + pair[1].removeprefix(prefix)):
            if token not in vocabulary:
                raise ValueError(
                    f"merge {place}, {pair[0]!r} with {pair[1]!r}: {token!r} is not in the vocabulary; "
                    "the two files do not belong together"
                )


def _all_known(vocabulary: Mapping[str, int], merges: Sequence[Sequence[str]]) -> bool:
    """Say whether all merges are pairs of entries that join to one, without a look at which is not."""
    try:
        parts, wholes = {token for one, other in merges for token in (one, other)}, set(map("".join, merges))
    except (TypeError, ValueError):
        return False
    return vocabulary.keys() >= parts | wholes
