"""The words after a verb become settings: `key=value`, `--key value` and plain words alike."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any, TypeVar, get_args, get_origin

from rootlm.core.config import Config, Override, load, parse_override
from rootlm.core.mistakes import nearest

C = TypeVar("C", bound=Config)
_ASSIGNMENT = re.compile(r"^[A-Za-z_][\w-]*(\.[\w-]+)*=")


def parse(
    tokens: Sequence[str], kind: type[C], positional: Sequence[str] = (), rest: type[Config] | None = None
) -> tuple[C, list[Override]]:
    """Fill `kind` from command-line words; returns it and the overrides that belong to `rest`.

    `positional` names the fields that plain words fill, in order; a last name ending in `*` takes all that
    remain. `--` ends the settings: what follows is plain. A key whose first part is no field of `kind` goes
    to `rest`; without a `rest` it is an error. Raises ValueError with the nearest known names.

    >>> class Settings(Config):
    ...     run: str
    ...     seed: int = 0
    ...     quiet: bool = False
    >>> parse(["runs/a", "--seed", "7", "quiet=true"], Settings, ["run"])[0]
    Settings(run='runs/a', seed=7, quiet=True)
    """
    words, overrides = _sort(list(tokens), kind, rest)
    own = [override for override in overrides if override.key.split(".")[0] in kind.model_fields]
    others = [override for override in overrides if override not in own]
    if others and rest is None:
        key = others[0].key
        hint = f"{nearest(key, kind.model_fields)} (put -- before text that holds =)"
        raise ValueError(f"unknown key {key}; {hint}")
    return load(kind, None, [*own, *_place(words, positional)]), others


def help_text(command: str, what: str, kind: type[Config], doc: str) -> str:
    """Return the help of one verb, made from the descriptions of its settings."""
    usage, _, detail = doc.strip().partition("\n\n")
    lines = [f"{command}: {what}", "", usage.strip()]
    if detail:
        lines += ["", detail.strip()]
    lines += ["", "settings, as key=value or --key value:", *describe(kind)]
    return "\n".join(lines)


def describe(kind: type[Config], prefix: str = "") -> list[str]:
    """Return one paragraph per setting: name, default, meaning."""
    lines: list[str] = []
    for name, field in kind.model_fields.items():
        default = "required" if field.is_required() else _show(field.get_default(call_default_factory=True))
        lines.append(f"  {prefix}{name} ({default})")
        if field.description:
            text = " ".join(field.description.split())
            lines += textwrap.wrap(text, 100, initial_indent="      ", subsequent_indent="      ")
        if len(groups := _groups(field.annotation)) == 1 and get_origin(field.annotation) is not tuple:
            lines += describe(groups[0], f"{prefix}{name}.")
    return lines


def _show(value: Any) -> str:
    if isinstance(value, Config):
        return str(getattr(value, "kind", "…"))
    return "none" if value is None or value == () else str(value)


def _sort(
    tokens: list[str], kind: type[Config], rest: type[Config] | None
) -> tuple[list[str], list[Override]]:
    words: list[str] = []
    overrides: list[Override] = []
    while tokens:
        token = tokens.pop(0)
        if token == "--":
            words += tokens
            break
        if token.startswith("--"):
            name, equals, text = token[2:].partition("=")
            key = name.replace("-", "_")
            if not equals:
                text = _value(tokens, key, _is_flag(key, kind) or (rest is not None and _is_flag(key, rest)))
            overrides.append(parse_override(key, text))
        elif _ASSIGNMENT.match(token):
            key, _, text = token.partition("=")
            overrides.append(parse_override(key, text))
        else:
            words.append(token)
    return words, overrides


def _value(tokens: list[str], key: str, flag: bool) -> str:
    if flag and (not tokens or tokens[0] not in ("true", "false")):
        return "true"
    if not tokens:
        raise ValueError(f"--{key} needs a value")
    return tokens.pop(0)


def _is_flag(key: str, kind: type[Config]) -> bool:
    first, _, remaining = key.partition(".")
    field = kind.model_fields.get(first)
    if field is None:
        return False
    if not remaining:
        return field.annotation is bool or bool in get_args(field.annotation)
    return any(_is_flag(remaining, group) for group in _groups(field.annotation))


def _groups(annotation: Any) -> list[type[Config]]:
    if isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, Config):
        return [annotation]
    return [group for part in get_args(annotation) for group in _groups(part)]


def _place(words: list[str], positional: Sequence[str]) -> list[Override]:
    placed: list[Override] = []
    for name in positional:
        if name.endswith("*"):
            if words:
                placed.append(Override(name[:-1], list(words)))
            return placed
        if words:
            placed.append(Override(name, words.pop(0)))
    if words:
        raise ValueError(f"{words[0]!r} is one word too many; settings are written key=value")
    return placed
