"""What is taken from counts: discounts from how many n-grams occur once, twice and so on, with their fallbacks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Say = Callable[[str], None]

_AT_ONCE = 1 << 20
ONE, THREE = 0.5, (0.5, 1.0, 1.5)
"""The discounts of an order whose counts define none, as KenLM's `--discount_fallback` has them."""


def how_many(counts: NDArray[np.integer], largest: int) -> list[int]:
    """Return n₀ … n of `largest`: how many n-grams have each count."""
    found = np.zeros(largest + 2, np.int64)
    for begin in range(0, len(counts), _AT_ONCE):
        part = np.minimum(counts[begin : begin + _AT_ONCE], largest + 1)
        found += np.bincount(part, minlength=largest + 2)
    return [int(number) for number in found[:-1]]


def single(counts: NDArray[np.integer], order: int, say: Say) -> float:
    """Return D = n₁ ÷ (n₁ + 2 n₂); ½ with a warning where n₁ or n₂ is 0.

    >>> single(np.array([1, 1, 2, 5]), 2, print)
    0.5
    """
    _, once, twice = how_many(counts, 2)
    if once and twice:
        return once / (once + 2 * twice)
    say(
        f"order {order}: {once} n-grams occur once and {twice} twice, which defines no discount; {ONE} is used"
    )
    return ONE


def three(counts: NDArray[np.integer], order: int, say: Say) -> tuple[float, float, float]:
    """Return D₁, D₂, D₃ (Chen and Goodman 1998, equation 17); a fallback with a warning where they are undefined.

    D_j = j − (j + 1) · Y · n₍j+1₎ ÷ n₍j₎ with Y = n₁ ÷ (n₁ + 2 n₂); each must lie in 0 … j.
    """
    n = how_many(counts, 4)
    if all(n[1:]):
        y = n[1] / (n[1] + 2 * n[2])
        found = [j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)]
        if all(0 < discount <= j for j, discount in enumerate(found, 1)):
            return found[0], found[1], found[2]
    said = ", ".join(f"{number} {j}×" for j, number in enumerate(n[1:], 1))
    say(f"order {order}: n-grams occur {said}, which defines no three discounts; {THREE} are used")
    return THREE


def good_turing(counts: NDArray[np.integer], largest: int, order: int, say: Say) -> Reals:
    """Return what each count 0 … `largest` + 1 is multiplied by, 1 for the last (Katz 1987, equation 10).

    d_c = (c* ÷ c − A) ÷ (1 − A), c* = (c + 1) n₍c+1₎ ÷ n₍c₎, A = (k + 1) n₍k+1₎ ÷ n₁. Where one of them is not
    within 0 … 1, all become 1 − D ÷ c with the single discount, and a warning says so.
    """
    n = how_many(counts, largest + 1)
    found = np.ones(largest + 2)
    if all(n[1:]):
        above = (largest + 1) * n[largest + 1] / n[1]
        for c in range(1, largest + 1):
            shrunk = (c + 1) * n[c + 1] / n[c] / c
            found[c] = (shrunk - above) / (1 - above) if above != 1 else 0.0
    else:
        found[1:-1] = 0.0
    if (found[1:-1] > 0).all() and (found[1:-1] <= 1).all():
        return found
    say(f"order {order}: the counts define no Good–Turing discounts; absolute discounting stands in")
    discount = single(counts, order, say)
    found[1:-1] = 1 - discount / np.arange(1, largest + 1)
    return found
