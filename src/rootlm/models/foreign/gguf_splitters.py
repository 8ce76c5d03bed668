"""Where text is cut before pairs of bytes are joined: llama.cpp knows the ways by name, `tokenizer.json` spells them.

Each name stands for one or several expressions; what one leaves uncut the next cuts further.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Spec = Mapping[str, Any]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ENDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{_ENDS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}"
QWEN2 = rf"{_ENDS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*|\p{{N}}|{_SLASHED}"
)
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_ENDS}?|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_ENDS}?"
    rf"|\p{{N}}{{1,3}}|{_SLASHED}"
)
_DEEPSEEK3 = (
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
_DIGITS = r"\p{N}"


@dataclass(frozen=True)
class Splitter:
    """One of llama.cpp's ways: its expressions, and whether a whole word that is an entry is taken as it is."""

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    exact: bool = True
    """False where llama.cpp only comes near the expression, so that nothing is written under the name."""


_SAME: Mapping[Splitter, str] = {
    Splitter(
        (GPT2,)
    ): "gpt-2 phi-2 olmo mpt jais trillion gigachat a.x-4.0 mellum modern-bert exaone4 granite-docling",
    Splitter((_DIGITS, GPT2)): "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
    Splitter((QWEN2,)): "qwen2 deepseek-r1-qwen stablelm2 hunyuan megrez solar-open grok-2 kormo",
    Splitter((LLAMA3,)): "dbrx smaug-bpe chatglm-bpe glm4",
    Splitter(
        (LLAMA3,), ignore_merges=True
    ): "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2",
    Splitter((TEKKEN,), ignore_merges=True, exact=False): "tekken",
    Splitter((GPT4O,), exact=False): "gpt-4o llama4 kanana2",
    Splitter(_DEEPSEEK3): "deepseek-v3 hunyuan-dense",
}
SPLITTERS = {name: splitter for splitter, names in _SAME.items() for name in names.split()}
"""By the names in `tokenizer.ggml.pre`; of several with the same meaning the first is written."""


def cutter(splitter: Splitter) -> dict[str, Any]:
    """Return the pre-tokenizer of `tokenizer.json`, which also writes each byte as one letter."""
    *splits, last = splitter.patterns
    if last != GPT2:
        splits.append(last)
    letters = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": last == GPT2,
    }
    cuts = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in splits
    ]
    return {"type": "Sequence", "pretokenizers": [*cuts, letters]} if cuts else letters


def name_of(pre_tokenizer: Spec | None, ignore_merges: bool) -> str | None:
    """Return llama.cpp's name for a pre-tokenizer over bytes, None where it has none."""
    patterns = tuple(_patterns(pre_tokenizer))
    for name, splitter in SPLITTERS.items():
        if splitter.exact and (splitter.patterns, splitter.ignore_merges) == (patterns, ignore_merges):
            return name
    return None


def reads_bytes(pre_tokenizer: Spec | None) -> bool:
    """Tell whether a pre-tokenizer writes each byte as one letter."""
    return any(step.get("type") == "ByteLevel" for step in _steps(pre_tokenizer))


def _patterns(pre_tokenizer: Spec | None) -> Iterator[str]:
    """Yield the expressions of a pre-tokenizer; one that has no equal comes as its description."""
    for step in _steps(pre_tokenizer):
        kind = step.get("type")
        if kind == "ByteLevel":
            if step.get("add_prefix_space"):
                yield str(step)
            if step.get("use_regex", True):
                yield GPT2
        elif kind == "Digits":
            yield _DIGITS if step.get("individual_digits") else r"\p{N}+"
        elif kind == "Split" and (step.get("behavior"), step.get("invert")) in _WHOLE:
            pattern = step["pattern"].get("Regex")
            yield str(step) if pattern is None else pattern
        else:
            yield str(step)


# What is matched stands alone: kept beside the rest, or the rest, which is empty, dropped.
_WHOLE = (("Isolated", False), ("Removed", True))


def _steps(pre_tokenizer: Spec | None) -> Iterator[Spec]:
    if pre_tokenizer is None:
        return
    if pre_tokenizer.get("type") == "Sequence":
        for step in pre_tokenizer["pretokenizers"]:
            yield from _steps(step)
    else:
        yield pre_tokenizer
