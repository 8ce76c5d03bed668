"""The merges that vocabularies without a list of them imply: any two neighbours that together are an entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
