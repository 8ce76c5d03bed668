"""A tokenizer on disk: `tokenizer.json` beside `tokenizer_config.json`, ours or any Hugging Face folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rootlm.core.files import write_json
from rootlm.tokenizers import framing
from rootlm.tokenizers.added_tokens import token_name
from rootlm.tokenizers.foreign_tokenizer import TOKENIZER
from rootlm.tokenizers.piece_normalizer import SETTING
from rootlm.tokenizers.piece_pair import PAIR
from rootlm.tokenizers.tokenizer_settings import CONFIG

_UNLIMITED = 2**62
_KNOWN = {
    "bos": ("<|endoftext|>", "<s>", "<|begin_of_text|>", "<bos>", "[CLS]", "[BOS]"),
    "eos": ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "[SEP]", "[EOS]"),
    "pad": ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>"),
    "unk": ("<unk>", "[UNK]"),
}
# The names that published tokenizers use, for files that do not say which token plays which role.
_CHAT_ROLES = ("bos", "eos", "unk", "pad", "cls", "sep", "mask")


@dataclass(frozen=True)
class Roles:
    """Which tokens begin and end a document, fill a row, and stand for what is unknown."""

    bos: str
    eos: str
    pad: str | None = None
    unk: str | None = None


def find_roles(
    config: Mapping[str, Any], spec: Mapping[str, Any], asked: Mapping[str, str | None], place: Path
) -> Roles:
    """Tell the roles from what was asked, the settings, then the names that published tokenizers use.

    A tokenizer that ends documents but has no begin uses the end for both. Raises ValueError naming what is
    missing, or one token for the end and for padding.
    """
    names = {token["content"] for token in spec.get("added_tokens", ())} | _own_unknown(spec)
    found: dict[str, str | None] = {}
    for role, known in _KNOWN.items():
        settled = token_name(config.get(f"{role}_token"))
        classic = token_name(config.get({"bos": "cls_token", "eos": "sep_token"}.get(role, "")))
        guess = next((name for name in known if name in names), None) if not config else None
        found[role] = settled or classic or guess
    found |= {role: name for role, name in asked.items() if name}
    if asked.get("pad") == "":
        found["pad"] = None
    found["bos"] = found["bos"] or found["eos"]
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
    if found["pad"] == found["eos"]:
        raise ValueError(
            f"{place}: pad and eos are both {found['eos']!r}, so that no model could learn where to end; pass "
            f"pad=… with another token, or set pad_token in {CONFIG} to null; rootlm import … pad=none does that"
        )
    return Roles(str(found["bos"]), found["eos"], found["pad"], found["unk"])


def kept(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that stay with a tokenizer: what cuts words, hides tokens and writes chats down."""
    names = ("chat_template", "segmenter", "segmenter_check", "mask_token", "chat_tokens", SETTING, PAIR)
    extra = {name: settings[name] for name in names if name in settings}
    if isinstance(settings.get(framing.SETTING), bool):
        extra[framing.SETTING] = settings[framing.SETTING]
    if "chat_template" in extra and "chat_tokens" not in extra:
        # A template may ask whether there is a bos at all; our own begin stands in for one that is not.
        extra["chat_tokens"] = {
            f"{role}_token": name
            for role in _CHAT_ROLES
            if (name := token_name(settings.get(f"{role}_token"))) is not None
        }
    return extra


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


def _own_unknown(spec: Mapping[str, Any]) -> set[str]:
    model = spec["model"]
    if model["type"] == "Unigram":
        place = model.get("unk_id")
        return set() if place is None else {model["vocab"][place][0]}
    unknown = model.get("unk_token")
    return {unknown} if unknown in model["vocab"] else set()
