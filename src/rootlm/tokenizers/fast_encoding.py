"""Batch encoding by `fastokens`, used only where its ids were seen to equal those of `tokenizers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import pairwise

Encode = Callable[[Sequence[str]], list[list[int]]]
FastEncode = Callable[[Sequence[str]], list[list[int]] | None]

PROBES = (
    "",
    " ",
    "\n",
    "a",
    "床前明月光，疑是地上霜。",
    "Hello, world! It's 2024; we'll see 3.14159 and 1,000,000.",
    "  leading, trailing  \t\n\n\r\n  tabs\tand\r\nlines   ",
    "我爱中国ABC文字mixed混排123和１２３全角",
    "日本語のテキスト、한국어 텍스트, العربية, ไทย, हिन्दी",
    "😀👩‍👩‍👧‍👦🏳️‍🌈🇨🇳 é e\u0301 ﬁ Å ß İ ı ǆ",
    "\x00\x01\x1f\x7f\x85\u2028\u2029\ufeff\u200b\u200d\ufffd\uffff",
    "𠀀𠮷龘□〇々「」『』《》……——",
    "DON'T don't CAN'T I'M we'Re 'twas ''quoted'' “‘’”",
    "<|endoftext|> <s></s> [CLS] [UNK] <unk> <pad> <|im_start|>user<|im_end|>",
    "##a # ## ▁ ▁▁x Ġ Ċ <0x41> <0xE5>",
    "x" * 300 + "汉" * 300 + " " * 300 + "9" * 300 + "!" * 300,
    "def f(x):\n    return {'a': [1, 2], \"b\": x**2}  # 注释\n",
    "https://example.org/路径?q=1&r=%20#frag user@example.org",
)
"""Texts on which encoders are known to disagree: spaces, controls, marks, scripts, long runs, token names."""


def fast_encode(spec: str, reference: Encode, probes: Sequence[str]) -> FastEncode | None:
    """Return a fast batch encoder, or None when there is none or it differs from `reference` on a probe.

    The encoder itself returns None for a batch that it cannot read, such as a text whose split needs more
    stack than it has.
    """
    if find_spec("fastokens") is None:
        return None
    import fastokens
    import numpy as np

    try:
        fast = fastokens.Tokenizer.from_json_str(spec)
    except ValueError:
        return None

    def encode(texts: Sequence[str]) -> list[list[int]] | None:
        try:
            flat, offsets = fast.encode_batch_flat(list(texts), split_special_tokens=True)
        except ValueError:
            return None
        ids: list[int] = np.frombuffer(flat, np.uint32).tolist()
        ends: list[int] = np.frombuffer(offsets, np.uint64).tolist()
        return [ids[start:end] for start, end in pairwise(ends)]

    return encode if encode(probes) == reference(probes) else None
