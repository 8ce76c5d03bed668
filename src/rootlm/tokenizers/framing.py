"""What stands before and after a text when it is read whole, as a tokenizer's own file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rootlm.tokenizers.piece_codec import read_engine

SETTING = "add_bos_token"
"""What `tokenizer_config.json` says of the begin mark; it counts for more than `tokenizer.json`, as in transformers."""


def habit_of(spec: Mapping[str, Any]) -> tuple[list[int], list[int]] | None:
    """Return the ids that a `tokenizer.json` puts before and after a text; None where it does not speak of it."""
    if spec.get("post_processor") is None:
        return None
    # Frames name their own ids, so that a vocabulary of one word is enough to see them.
    word = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    framed = read_engine(
        {"added_tokens": [], "model": word, "post_processor": spec["post_processor"]}
    ).encode("a")
    own = [place for place, added in enumerate(framed.special_tokens_mask) if not added]
    if not own:
        return [], []
    return list(framed.ids[: own[0]]), list(framed.ids[own[-1] + 1 :])
