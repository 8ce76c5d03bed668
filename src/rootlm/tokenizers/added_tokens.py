"""Tokens that stand beside the model's own: what the settings of a published tokenizer add or call special."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Spec = dict[str, Any]
Settings = Mapping[str, Any]
_ROLES = ("bos_token", "eos_token", "pad_token", "cls_token", "sep_token", "mask_token")
_MOST_HOLES = 1 << 18
_LISTS = ("additional_special_tokens", "extra_special_tokens")
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}


def added_token(number: int, name: str, *, special: bool) -> Spec:
    """Return an entry of `added_tokens`: a token that is cut out of the text before the model reads it."""
    return {"id": number, "content": name, **_FLAGS, "special": special}


def with_added_tokens(spec: Spec, settings: Settings, place: Path) -> Spec:
    """Return `spec` with the tokens that `settings` add, each at its id, and with those special that they call so.

    Where ids were left free they are filled with reserved tokens. Raises ValueError naming `place` where an id or
    a name is given to two.
    """
    names = {number: name for name, number in vocabulary_of(spec, place).items()}
    numbers = {name: number for number, name in names.items()}
    added = {token["content"]: dict(token) for token in spec.get("added_tokens", ())}
    for number, token in _numbered(settings):
        name = token["content"]
        if numbers.get(name, number) != number or names.get(number, name) != name:
            raise ValueError(
                f"{place}: the settings give id {number} to {name!r}, but there {names.get(number)!r} stands and "
                f"{name!r} has {numbers.get(name, 'no id')}; the files do not belong together"
            )
        names[number], numbers[name] = name, number
        added.setdefault(name, {"id": number, **_FLAGS, **token})
    for name in _special_names(settings):
        if name not in numbers and name not in _role_names(settings):
            numbers[name] = max(numbers.values()) + 1
            names[numbers[name]] = name
        if name in numbers:
            added.setdefault(name, added_token(numbers[name], name, special=True))["special"] = True
    tokens = sorted(added.values(), key=lambda token: int(token["id"]))
    if _numbers_itself(spec["model"]["vocab"], tokens):
        return {**spec, "added_tokens": tokens}
    if max(names) > _MOST_HOLES + len(names):
        raise ValueError(
            f"{place}: the settings give {names[max(names)]!r} the id {max(names):,}, but there are "
            f"only {len(names):,} tokens; the files do not belong together"
        )
    for number in range(max(names, default=-1)):
        if number not in names:
            names[number] = f"<|reserved_token_{number}|>"
            tokens.append(added_token(number, names[number], special=True))
    tokens.sort(key=lambda token: int(token["id"]))
    return {**spec, "added_tokens": tokens, "model": _with_entries(spec["model"], names)}


def vocabulary_of(spec: Spec, place: Path) -> dict[str, int]:
    """Return all names with their ids; raises ValueError where two have one, or one has two."""
    entries = spec["model"]["vocab"]
    pairs = list(entries.items()) if isinstance(entries, Mapping) else _listed(entries)
    pairs += [(token["content"], token["id"]) for token in spec.get("added_tokens", ())]
    numbers: dict[str, int] = {}
    names: dict[int, str] = {}
    for name, number in pairs:
        if numbers.setdefault(name, number) != number:
            raise ValueError(f"{place}: {name!r} has two ids, {numbers[name]} and {number}; keep one")
        if names.setdefault(number, name) != name:
            raise ValueError(
                f"{place}: {names[number]!r} and {name!r} both have id {number}; each needs its own"
            )
    return numbers


def _numbers_itself(entries: Any, tokens: list[Spec]) -> bool:
    """Whether the engine, which gives the next number to each token that is no entry, comes to the same ids."""
    own = dict(entries if isinstance(entries, Mapping) else _listed(entries))
    free = len(own)
    for token in tokens:
        free += token["content"] not in own
        if own.get(token["content"], free - 1) != token["id"]:
            return False
    return True


def _listed(entries: list[Any]) -> list[tuple[str, int]]:
    return [(entry[0], number) for number, entry in enumerate(entries)]


def _with_entries(model: Spec, names: Mapping[int, str]) -> Spec:
    """Give every name a place among the model's own: the engine numbers what stands outside as it likes."""
    entries = model["vocab"]
    if isinstance(entries, Mapping):
        known = set(entries)
        more = {name: number for number, name in sorted(names.items()) if name not in known}
        return {**model, "vocab": {**entries, **more}} if more else model
    if len(names) == len(entries):
        return model
    least = min((score for _, score in entries), default=0.0)
    return {**model, "vocab": [*entries, *([names[n], least] for n in range(len(entries), len(names)))]}


def _numbered(settings: Settings) -> Iterator[tuple[int, Spec]]:
    """Yield the tokens that come with an id, from either of the two places where settings write them."""
    found: dict[int, Spec] = {}
    for name, number in (settings.get("added_tokens_file") or {}).items():
        found[int(number)] = {"content": name}
    for number, token in (settings.get("added_tokens_decoder") or {}).items():
        known = {key: token[key] for key in ("content", *_FLAGS) if key in token}
        found[int(number)] = known
    yield from sorted(found.items())


def _special_names(settings: Settings) -> list[str]:
    lists = [settings.get(key) or () for key in _LISTS]
    named = [
        token_name(value)
        for more in lists
        for value in (more.values() if isinstance(more, Mapping) else more)
    ]
    return [*_role_names(settings), *(name for name in named if name)]


def _role_names(settings: Settings) -> list[str]:
    return [name for role in _ROLES if (name := token_name(settings.get(role)))]


def token_name(value: object) -> str | None:
    """Return the name of a token that settings write as a text or as an object."""
    if isinstance(value, Mapping):
        return str(value["content"])
    return value if isinstance(value, str) else None
