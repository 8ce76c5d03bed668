"""How published byte-level tokenizers cut a text before pairs are joined, and which special tokens they bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

END_OF_TEXT = "<|endoftext|>"

# Written without possessive repetition, which the engine's expressions spell in another way. With the ends
# of texts named by \z, since $ is also the end of a line there.
GPT_2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_GPT_4 = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s+\z|\s*[\r\n]|\s+(?!\S)|\s"
)
_LLAMA_3 = (
    rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN = _LLAMA_3.replace("{1,3}", "")
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_GPT_4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{_ENDINGS}?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{_ENDINGS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_FILL = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
_LLAMA_3_NAMES = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    *(f"<|reserved_special_token_{place}|>" for place in range(4)),
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|reserved_special_token_4|>",
    "<|eot_id|>",
    *(f"<|reserved_special_token_{place}|>" for place in range(5, 251)),
)
_QWEN_NAMES = (END_OF_TEXT, "<|im_start|>", "<|im_end|>", *(f"<|extra_{place}|>" for place in range(205)))


@dataclass(frozen=True)
class Encoding:
    """What a file of ranks does not say: the cut, and the special tokens with their ids."""

    pattern: str
    ranks: int
    """How many ranks the published file has."""
    special: Mapping[str, int] = field(default_factory=dict)
    composed: bool = False
    """Whether characters are composed (NFC) before anything else."""


def _numbered(names: tuple[str, ...], first: int) -> dict[str, int]:
    return {name: first + place for place, name in enumerate(names)}


ENCODINGS = {
    "gpt2": Encoding(GPT_2, 50256, {END_OF_TEXT: 50256}),
    "r50k_base": Encoding(GPT_2, 50256, {END_OF_TEXT: 50256}),
    "p50k_base": Encoding(GPT_2, 50280, {END_OF_TEXT: 50256}),
    "cl100k_base": Encoding(
        _GPT_4, 100256, _numbered((END_OF_TEXT, *_FILL), 100257) | {"<|endofprompt|>": 100276}
    ),
    "o200k_base": Encoding(_GPT_4O, 199998, {END_OF_TEXT: 199999, "<|endofprompt|>": 200018}),
    "llama3": Encoding(_LLAMA_3, 128000, _numbered(_LLAMA_3_NAMES, 128000)),
    "qwen": Encoding(QWEN, 151643, _numbered(_QWEN_NAMES, 151643), composed=True),
}
