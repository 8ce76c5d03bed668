"""The special tokens of tokenizers trained here, always the first four ids."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken

from rootlm.tokenizers.tokenizer_files import Roles

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
MASK = "<|mask|>"
"""Not among the first four: `Tokenizer.with_mask` adds it behind all others where something is to be hidden."""
SPECIAL_TOKENS = (END_OF_TEXT, PAD, TURN_START, TURN_END)
ROLES = Roles(bos=END_OF_TEXT, eos=END_OF_TEXT, pad=PAD)
"""One token both begins and ends a document; padding is never the end."""


def mark_special(engine: Any) -> None:
    """Make the special tokens, which the model already holds, special for `tokenizers` and `transformers`."""
    engine.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
