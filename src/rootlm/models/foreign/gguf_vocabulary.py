"""A `tokenizer.json` in GGUF's words, refused where llama.cpp would give other ids."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rootlm.models.foreign import gguf_splitters
from rootlm.models.foreign.gguf_reading import STRING
from rootlm.models.foreign.gguf_tokenizer import (
    BYTE,
    CONTROL,
    KEY,
    NORMAL,
    SPACE,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    filler,
)
from rootlm.models.foreign.gguf_writing import F32, I32, Many

Spec = Mapping[str, Any]
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_ENDS = ("eos", "eot", "eom")


@dataclass(frozen=True)
class Marks:
    """The ids that begin a text, end it and fill a row, and whether a text is begun with the first."""

    bos: int | None = None
    ends: tuple[int, ...] = ()
    pad: int | None = None
    begins: bool | None = None
    """None where `tokenizer.json` says it."""

    @classmethod
    def of(cls, ids: Mapping[str, Any]) -> Marks:
        """Read the keys of a generation config."""
        eos = ids.get("eos_token_id")
        ends = tuple(eos) if isinstance(eos, list | tuple) else () if eos is None else (eos,)
        return cls(ids.get("bos_token_id"), ends, ids.get("pad_token_id"), ids.get("add_bos_token"))


def write_tokenizer(content: str, vocab_size: int, marks: Marks, place: str) -> dict[str, Any]:
    """Return GGUF's settings for a `tokenizer.json`; entries are filled up to `vocab_size`, the embedding's rows.

    Raises ValueError saying what of the tokenizer llama.cpp has no equal for.
    """
    spec = json.loads(content)
    model = spec["model"]
    if model.get("type", "BPE") != "BPE":
        raise _no_equal(place, f"its model is {model['type']}, and llama.cpp joins pairs (BPE)")
    _plain_model(model, place)
    vocabulary = dict(model["vocab"])
    added = {token["content"]: token for token in spec.get("added_tokens") or ()}
    vocabulary |= {name: token["id"] for name, token in added.items()}
    for name, token in added.items():
        if not token["special"] and any(token[flag] for flag in ("lstrip", "rstrip", "single_word")):
            raise _no_equal(place, f"its added token {name!r} takes the spaces beside it")
    merges = [_pair(merge) for merge in model["merges"]]
    if gguf_splitters.reads_bytes(spec.get("pre_tokenizer")):
        own = _byte_pairs(spec, place)
        own[f"{KEY}merges"] = Many(STRING, [" ".join(pair) for pair in merges])
        scores: dict[str, float] = {}
    else:
        vocabulary, own = _pieces(spec, vocabulary, added, merges, place)
        scores = _scores(vocabulary, added, merges, place)
    names, kinds = _entries(vocabulary, added, model, vocab_size, place)
    if scores or own[f"{KEY}model"] == "llama":
        own[f"{KEY}scores"] = Many(F32, [scores.get(name, 0.0) for name in names])
    return {
        **own,
        f"{KEY}tokens": Many(STRING, names),
        f"{KEY}token_type": Many(I32, kinds),
        **_marks(spec, marks, names, place),
    }


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def _no_equal(place: str, why: str) -> ValueError:
    return ValueError(
        f"{place}: the tokenizer has no equal in llama.cpp: {why}; "
        "write another format, or train the tokenizer with tokenizer.cut=qwen2"
    )


def _plain_model(model: Spec, place: str) -> None:
    for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(key):
            raise _no_equal(place, f"its model has {key}={model[key]!r}")


def _byte_pairs(spec: Spec, place: str) -> dict[str, Any]:
    normalizer = spec.get("normalizer")
    # Qwen composes characters first; llama.cpp takes the text as it comes, also for Qwen's own files.
    if normalizer is not None and normalizer.get("type") != "NFC":
        raise _no_equal(place, f"it rewrites texts first ({normalizer.get('type')})")
    name = gguf_splitters.name_of(spec["pre_tokenizer"], bool(spec["model"].get("ignore_merges")))
    if name is None:
        raise _no_equal(place, "it cuts texts by an expression that llama.cpp has no name for")
    return {f"{KEY}model": "gpt2", f"{KEY}pre": name}


def _pieces(
    spec: Spec, vocabulary: dict[str, int], added: Spec, merges: Sequence[Any], place: str
) -> tuple[dict[str, int], dict[str, Any]]:
    """Return the entries with the mark for a space, and the settings, of a tokenizer over characters."""
    if not spec["model"].get("byte_fallback") or not all(
        f"<0x{byte:02X}>" in vocabulary for byte in range(256)
    ):
        raise _no_equal(place, "it has neither bytes for letters nor bytes for rare characters")
    marked, prefix = _spaces(spec, merges, place)
    if not marked:
        # Nothing is ever joined, so only the name of the space differs.
        if SPACE in vocabulary and " " in vocabulary:
            raise _no_equal(place, f"both a space and {SPACE} are entries, which llama.cpp takes for one")
        vocabulary = {
            name if name in added else name.replace(" ", SPACE): number for name, number in vocabulary.items()
        }
    return vocabulary, {f"{KEY}model": "llama", f"{KEY}pre": "default", f"{KEY}add_space_prefix": prefix}


def _spaces(spec: Spec, merges: Sequence[Any], place: str) -> tuple[bool, bool]:
    """Return whether spaces are written as marks, and whether one is set before a text."""
    steps = [
        *_steps(spec.get("normalizer"), "normalizers"),
        *_steps(spec.get("pre_tokenizer"), "pretokenizers"),
    ]
    marked = prefix = False
    for step in steps:
        kind = step["type"]
        if kind == "Prepend" and step["prepend"] == SPACE:
            prefix = True
        elif kind == "Replace" and step["pattern"] == {"String": " "} and step["content"] == SPACE:
            marked = True
        elif kind == "Metaspace" and step["replacement"] == SPACE and not step.get("split", True):
            marked, prefix = True, prefix or step.get("prepend_scheme", "always") != "never"
        elif kind == "Split" and step["pattern"] == {"String": " "} and marked:
            continue  # no space is left to be cut at
        elif not (kind == "Split" and not merges):
            raise _no_equal(place, f"it prepares texts by {kind}")
    if not marked and merges:
        raise _no_equal(place, "it joins characters and keeps spaces as they are")
    return marked, prefix


def _steps(part: Spec | None, within: str) -> list[Spec]:
    if part is None:
        return []
    if part["type"] == "Sequence":
        return [step for inner in part[within] for step in _steps(inner, within)]
    return [part]


def _scores(
    vocabulary: Mapping[str, int], added: Spec, merges: Sequence[tuple[str, str]], place: str
) -> dict[str, float]:
    """Return scores by which llama.cpp joins in the order of the merges."""
    scores: dict[str, float] = {}
    last = ""
    for pair in merges:
        made = "".join(pair)
        if made != last and made in scores:
            raise _no_equal(
                place, f"{made!r} is made early by one merge and late by another; scores cannot say so"
            )
        scores.setdefault(made, -1.0 - len(scores))
        last = made
    known = set(merges)
    common = {name for name in vocabulary if name not in added and not _BYTE.fullmatch(name)}
    for name in common:
        for cut in range(1, len(name)):
            pair = (name[:cut], name[cut:])
            if pair[0] in common and pair[1] in common and pair not in known:
                raise _no_equal(place, f"it never joins {pair[0]!r} and {pair[1]!r}, which llama.cpp would")
    return scores


def _entries(
    vocabulary: Mapping[str, int], added: Spec, model: Spec, vocab_size: int, place: str
) -> tuple[list[str], list[int]]:
    """Return the names and kinds of all entries by their ids, holes filled."""
    most = max(vocabulary.values()) + 1
    if most > vocab_size:
        raise ValueError(
            f"{place}: the tokenizer has ids up to {most - 1:,} and the embedding {vocab_size:,} rows; "
            "they belong to different models"
        )
    names = [filler(number) for number in range(vocab_size)]
    kinds = [UNUSED] * vocab_size
    for name, number in vocabulary.items():
        if kinds[number] != UNUSED:
            raise ValueError(f"{place}: the tokenizer gives id {number} to {names[number]!r} and {name!r}")
        names[number], kinds[number] = name, _kind(name, added, model)
    if len(set(names)) != len(names):
        twice = next(name for number, name in enumerate(names) if names.index(name) != number)
        raise ValueError(f"{place}: the tokenizer has {twice!r} twice; llama.cpp takes each entry once")
    return names, kinds


def _kind(name: str, added: Spec, model: Spec) -> int:
    if model.get("unk_token") == name and model.get("byte_fallback"):
        return UNKNOWN
    if name in added:
        return CONTROL if added[name]["special"] else USER_DEFINED
    return BYTE if model.get("byte_fallback") and _BYTE.fullmatch(name) else NORMAL


def _marks(spec: Spec, marks: Marks, names: Sequence[str], place: str) -> dict[str, Any]:
    first, last = _framed(spec.get("post_processor"), place)
    numbers = {name: number for number, name in enumerate(names)}
    for name in (first, last):
        if name is not None and name not in numbers:
            raise ValueError(
                f"{place}: its post_processor sets {name!r} around texts, which is no token of it"
            )
    bos = marks.bos if first is None else numbers[first]
    ends = marks.ends if last is None or marks.ends else (numbers[last],)
    if first is not None and marks.bos not in (None, bos):
        raise _no_equal(place, f"it begins texts with {first!r}, which is not its bos token")
    if len(ends) > len(_ENDS):
        raise ValueError(f"{place}: {len(ends)} ids end a text; llama.cpp has room for {len(_ENDS)}")
    begins = first is not None if marks.begins is None else marks.begins
    found: dict[str, Any] = {} if bos is None else {f"{KEY}bos_token_id": bos}
    found |= {f"{KEY}{key}_token_id": number for key, number in zip(_ENDS, ends, strict=False)}
    if marks.pad is not None:
        found[f"{KEY}padding_token_id"] = marks.pad
    unknown = spec["model"].get("unk_token")
    if unknown in numbers:
        found[f"{KEY}unknown_token_id"] = numbers[unknown]
    for key, number in found.items():
        if not 0 <= number < len(names):
            raise ValueError(f"{place}: {key.removeprefix(KEY)} is {number}, no entry of the tokenizer")
    return {
        **found,
        f"{KEY}add_bos_token": begins and bos is not None,
        f"{KEY}add_eos_token": last is not None,
    }


def _framed(post_processor: Spec | None, place: str) -> tuple[str | None, str | None]:
    """Return the names of the marks that are set before and behind a text."""
    steps = _steps(post_processor, "processors")
    names: list[list[str]] = [[], []]
    for step in steps:
        if step["type"] == "ByteLevel":
            continue
        if step["type"] != "TemplateProcessing":
            raise _no_equal(place, f"it frames texts by {step['type']}")
        behind = 0
        for part in step["single"]:
            if "Sequence" in part:
                behind = 1
            else:
                names[behind].append(part["SpecialToken"]["id"])
    if any(len(side) > 1 for side in names):
        raise _no_equal(place, "it sets several marks on one side of a text")
    before, after = names
    return (before[0] if before else None), (after[0] if after else None)
