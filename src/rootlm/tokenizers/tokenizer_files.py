"""A tokenizer on disk: `tokenizer.json` beside `tokenizer_config.json`, ours or any Hugging Face folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rootlm.core.files import write_json

Plain = dict[str, Any]
TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
_UNLIMITED = 2**62
_COMPANIONS = (CONFIG, "special_tokens_map.json")
_KNOWN = {
    "bos": ("<|endoftext|>", "<s>", "<|begin_of_text|>", "<bos>", "[CLS]", "[BOS]"),
    "eos": ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "[SEP]", "[EOS]"),
    "pad": ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>"),
    "unk": ("<unk>", "[UNK]"),
}
# The names that published tokenizers use, for files that do not say which token plays which role.


@dataclass(frozen=True)
class Roles:
    """Which tokens begin and end a document, fill a row, and stand for what is unknown."""

    bos: str
    eos: str
    pad: str | None = None
    unk: str | None = None


def read(path: Path) -> tuple[str, Plain]:
    """Return the text of `tokenizer.json` and the settings beside it (empty when there are none)."""
    file = path / TOKENIZER if path.is_dir() else path
    try:
        content = file.read_text(encoding="utf-8")
        spec = json.loads(content)
    except OSError as error:
        raise ValueError(
            f"{file}: cannot be read ({error.strerror}); expected a folder with {TOKENIZER}"
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{file}: not valid JSON ({error}); the file is torn or not a {TOKENIZER}"
        ) from error
    if not isinstance(spec, dict) or not isinstance(spec.get("model"), dict):
        raise ValueError(f"{file}: not a Hugging Face tokenizer: it holds no model")
    config: Plain = {}
    for name in reversed(_COMPANIONS):
        companion = file.parent / name
        if file.name == TOKENIZER and companion.is_file():
            try:
                config |= json.loads(companion.read_text(encoding="utf-8"))
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ValueError(
                    f"{companion}: not valid JSON ({error}); the file is torn or was edited"
                ) from error
    template = file.parent / "chat_template.jinja"
    if file.name == TOKENIZER and template.is_file():
        config["chat_template"] = template.read_text(encoding="utf-8")
    return content, config


def find_roles(
    config: Mapping[str, Any], spec: Mapping[str, Any], bos: str | None, eos: str | None, place: Path
) -> Roles:
    """Tell the roles from what was asked, the settings, then the names that published tokenizers use.

    A tokenizer that ends documents but has no begin uses the end for both. Raises ValueError naming what is
    missing.
    """
    names = {token["content"] for token in spec.get("added_tokens", ())} | _own_unknown(spec)
    found: dict[str, str | None] = {}
    for role, known in _KNOWN.items():
        settled = _content(config.get(f"{role}_token"))
        classic = _content(config.get({"bos": "cls_token", "eos": "sep_token"}.get(role, "")))
        guess = next((name for name in known if name in names), None) if not config else None
        found[role] = settled or classic or guess
    found["eos"] = eos or found["eos"]
    found["bos"] = bos or found["bos"] or found["eos"]
    if "unk_token" not in config:
        found["unk"] = next(iter(_own_unknown(spec)), None)
    if found["unk"] in (found["bos"], found["eos"], found["pad"]):
        # GPT-2 names its end as the unknown too; its bytes know everything.
        found["unk"] = None
    if found["eos"] is None:
        listed = ", ".join(sorted(names)[:8]) or "none"
        raise ValueError(
            f"{place}: no eos token: neither {CONFIG} nor a known name says which token ends a document; "
            f"pass eos=… (added tokens: {listed})"
        )
    return Roles(str(found["bos"]), found["eos"], found["pad"], found["unk"])


def write(folder: Path, content: Mapping[str, Any], roles: Roles, extra: Mapping[str, Any]) -> None:
    """Write both files so that plain `tokenizers` and `transformers` read them as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": roles.bos,
        "eos_token": roles.eos,
        "pad_token": roles.pad,
        "unk_token": roles.unk,
        "model_max_length": _UNLIMITED,
        "clean_up_tokenization_spaces": False,
    }
    write_json(folder / TOKENIZER, content)
    write_json(folder / CONFIG, config | dict(extra))


def _content(value: object) -> str | None:
    if isinstance(value, Mapping):
        return str(value["content"])
    return value if isinstance(value, str) else None


def _own_unknown(spec: Mapping[str, Any]) -> set[str]:
    model = spec["model"]
    if model["type"] == "Unigram":
        place = model.get("unk_id")
        return set() if place is None else {model["vocab"][place][0]}
    unknown = model.get("unk_token")
    return {unknown} if unknown in model["vocab"] else set()
