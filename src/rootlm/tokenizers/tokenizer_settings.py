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
            templates |= named_templates({name: path.read_text(encoding="utf-8")})
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
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}); the file is torn or was edited") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected an object of settings, found {type(found).__name__}")
    return found
