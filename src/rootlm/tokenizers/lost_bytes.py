"""How much of a text its round trip through a lossy tokenizer did not bring back."""

from __future__ import annotations

_WINDOW = 24
_ANCHOR = 3
_BLOCK = 4096


def unmatched_bytes(text: str, decoded: str) -> int:
    """Return the UTF-8 bytes of `text` that a common subsequence with `decoded` leaves out.

    The subsequence is found greedily: the count may be too high, never too low. What `decoded` adds is free.

    >>> unmatched_bytes("Straße 12", "straße 12"), unmatched_bytes("床前明月", "床 前 月")
    (1, 3)
    """
    lost: list[str] = []
    here = there = 0
    while here < len(text) and there < len(decoded):
        if text[here : here + _BLOCK] == decoded[there : there + _BLOCK]:
            here, there = here + _BLOCK, there + _BLOCK
        elif text[here] == decoded[there]:
            here, there = here + 1, there + 1
        elif decoded[there] == " " and decoded[there + 1 : there + 2] == text[here]:
            there += 1
        else:
            skipped, added = _next_anchor(text, here, decoded, there)
            lost.append(text[here : here + skipped])
            here, there = here + skipped, there + added
    lost.append(text[here:])
    return len("".join(lost).encode())


def _next_anchor(text: str, here: int, decoded: str, there: int) -> tuple[int, int]:
    """Return how far to go in both until a few characters agree again, by the shortest way."""
    for distance in range(1, _WINDOW):
        for skipped in range(distance + 1):
            anchor = text[here + skipped : here + skipped + _ANCHOR]
            place = there + distance - skipped
            if anchor and anchor == decoded[place : place + _ANCHOR]:
                return skipped, distance - skipped
    return 1, 1
