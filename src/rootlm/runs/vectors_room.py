"""What vectors take of the memory, said before it is taken."""

from __future__ import annotations

from rootlm.core import machine

MOST_BUCKETS = 2_000_000
"""The rows that fastText gives n-grams."""
_LANES = 16


def enough_buckets(ngrams: int) -> int:
    """Return rows for so many different n-grams: four for each, so that few share one, and never too many."""
    return max(1, min(MOST_BUCKETS, 4 * ngrams))


def require_memory(size: int, learned_rows: int, handed_rows: int) -> None:
    """Raise ValueError where rows that are learned and those handed on would not fit into the memory at hand."""
    width = -(-size // _LANES) * _LANES
    needed, free = 4 * (width + size) * learned_rows + 4 * size * handed_rows, machine.available_memory()
    if needed > free:
        raise ValueError(
            f"the vectors take {needed / 1e6:,.0f} MB and {free / 1e6:,.0f} MB are free; "
            "set a smaller size, fewer buckets or a greater min_count"
        )
