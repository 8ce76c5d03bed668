"""What lies beside a tokenizer: its settings, special tokens, added tokens and chat templates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rootlm.tokenizers.chat_template import DEFAULT, named_templates

Plain = dict[str, Any]
CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
_SPECIAL = "special_tokens_map.json"
_ADDED = "added_tokens.json"
_ROLES = tuple(f"{role}_token" for role in ("bos", "eos", "pad", "unk", "cls", "sep", "mask"))
_NUMBERED = "added_tokens_decoder"
_MORE_TEMPLATES = "additional_chat_templates"


def read_settings(folder: Path) -> Plain:
    """Return the settings of a folder, empty where it has none; raises ValueError naming a torn file.

    `tokenizer_config.json` wins over `special_tokens_map.json`, a template in a file of its own over one in the
    settings. Tokens of `added_tokens.json` stand under `added_tokens_file`.
    """
    settings: Plain = {}
    for name in (_SPECIAL, CONFIG):
        settings |= _object(folder / name)
    added = _object(folder / _ADDED)
    if not all(isinstance(number, int) for number in added.values()):
        raise ValueError(f"{folder / _ADDED}: expected an id for each token; copy the file again")
    if added:
        settings["added_tokens_file"] = added
    try:
        templates = named_templates(settings.get("chat_template"))
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from error
    files = {path.stem: path for path in sorted((folder / _MORE_TEMPLATES).glob("*.jinja"))}
    files |= {DEFAULT: folder / TEMPLATE} if (folder / TEMPLATE).is_file() else {}
    for name, path in files.items():
        try:
            source = path.read_text(encoding="utf-8")
            # transformers takes an empty file for none.
            templates |= named_templates({name: source}) if source else {}
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if templates:
        settings["chat_template"] = templates[DEFAULT] if list(templates) == [DEFAULT] else _listed(templates)
    return settings


def _listed(templates: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "template": source} for name, source in templates.items()]


def _object(path: Path) -> Plain:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}); the file is torn or was edited") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected an object of settings, found {type(found).__name__}")
    _check_tokens(found, path)
    return found


def _check_tokens(settings: Plain, path: Path) -> None:
    """Raise ValueError where a token that settings write as an object has no text, or tokens have no ids."""
    for key in _ROLES:
        value = settings.get(key)
        name = value.get("content") if isinstance(value, dict) else value
        if value is not None and not isinstance(name, str):
            raise ValueError(f"{path}: {key} is {value!r}, expected a token's text")
    numbered = settings.get(_NUMBERED)
    if numbered is None:
        return
    sound = isinstance(numbered, dict) and all(
        number.isdecimal() and isinstance(token, dict) and isinstance(token.get("content"), str)
        for number, token in numbered.items()
    )
    if not sound:
        raise ValueError(f"{path}: {_NUMBERED} is no list of tokens by their ids; copy the file again")
