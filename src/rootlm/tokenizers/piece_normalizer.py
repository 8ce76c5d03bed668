"""What SentencePiece does to a text before it looks for pieces, to the letter."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from rootlm.tokenizers.character_rules import CharacterRules

SPACE = "▁"
SETTING = "sentencepiece"
"""Where `tokenizer_config.json` says that a text is to be treated so; the engine's own steps come close to it."""


class PieceNormalizer:
    """Rewrites characters, leaves a user's symbols alone, and writes spaces as `▁`.

    The engine has a step for the same rules, which looks at whole clusters of letters and marks: on texts
    with marks that no font has joined, its ids differ from those of SentencePiece.
    """

    def __init__(self, spec: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Raises ValueError where the rules in `spec`, a parsed `tokenizer.json`, are torn."""
        steps = (spec["normalizer"] or {}).get("normalizers", ())
        charsmap = next(
            (step["precompiled_charsmap"] for step in steps if step["type"] == "Precompiled"), None
        )
        self._rules = CharacterRules(base64.b64decode(charsmap)) if charsmap else None
        self._one_space = bool(settings["remove_extra_whitespaces"])
        self._prefix = SPACE if settings["add_dummy_prefix"] else ""
        self._once = bool(settings["prefix_once"])
        symbols = sorted(settings["symbols"], key=len, reverse=True)
        self._symbols = re.compile(f"({'|'.join(map(re.escape, symbols))})") if symbols else None

    def __call__(self, text: str) -> str:
        """Return the text as the pieces spell it."""
        if self._symbols is None:
            text = self._rewritten(text)
        else:
            parts = self._symbols.split(text)
            text = "".join(part if place % 2 else self._rewritten(part) for place, part in enumerate(parts))
        if self._one_space:
            text = re.sub(" {2,}", " ", text.lstrip(" "))
        text = text.replace(" ", SPACE)
        if text and not (self._once and text.startswith(SPACE)):
            text = self._prefix + text
        return text.rstrip(SPACE) if self._one_space else text

    def _rewritten(self, text: str) -> str:
        return self._rules.apply(text) if self._rules is not None else text


def already_normal(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return `spec` for texts that went through `PieceNormalizer`: no step of its own changes them again."""
    kept = spec["pre_tokenizer"]
    steps = (
        kept["pretokenizers"] if kept is not None and kept["type"] == "Sequence" else [kept] if kept else []
    )
    steps = [step for step in steps if step["type"] != "Metaspace"]
    before = {"type": "Sequence", "pretokenizers": steps} if steps else None
    return {**spec, "normalizer": None, "pre_tokenizer": before}
