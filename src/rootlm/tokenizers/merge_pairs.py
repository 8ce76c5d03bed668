"""The merges of a vocabulary: those that it implies without a list of them, and what each entry was merged from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pairs = list[tuple[str, str]]


def implied_merges(ranked: Iterable[str], parts: Mapping[str, object]) -> Pairs:
    """Return every way to make each entry of `ranked`, best first, from two of `parts`.

    Of the ways to make one entry the longest left part is first; no text was found whose tokens depend on that.

    >>> implied_merges(["ab", "abc"], {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4})
    [('a', 'b'), ('ab', 'c'), ('a', 'bc')]
    """
    return [
        (entry[:cut], entry[cut:])
        for entry in ranked
        for cut in range(len(entry) - 1, 0, -1)
        if entry[:cut] in parts and entry[cut:] in parts
    ]


def merged_from(model: Mapping[str, Any], size: int) -> NDArray[np.int64]:
    """Return the ids that the first merge of each entry joins, (size, 2), negative for entries that none makes.

    `model` is the part of that name in a `tokenizer.json`.

    >>> vocabulary = {"a": 0, "b": 1, "ab": 2}
    >>> merged_from({"type": "BPE", "vocab": vocabulary, "merges": [["a", "b"]]}, 3).tolist()
    [[-1, -1], [-1, -1], [0, 1]]
    """
    parts = np.full((size, 2), -1, np.int64)
    if model.get("type") != "BPE":
        return parts
    vocabulary = model["vocab"]
    for pair in model["merges"]:
        first, second = pair.split(" ") if isinstance(pair, str) else pair
        made = vocabulary[first + second]
        if parts[made, 0] < 0:
            parts[made] = vocabulary[first], vocabulary[second]
    return parts
