"""Which places of a batch are hidden, and what stands there instead."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Unit = Literal["token", "word", "span"]
"""What is hidden as a whole: a token, a word, or several words that follow one another."""
_LONGEST_SPAN, _SPAN_ENDS = 10, 0.2


def unit_numbers(starts: Tensor, segments: Tensor, maskable: Tensor) -> Tensor:
    """Return a number for each place of (rows, time) that rises where another word begins, within rows and across.

    A word also begins where a text does, and beside a place that is never hidden.
    """
    begins = starts.bool().clone()
    begins[:, 0] = True
    begins[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    begins[:, 1:] |= maskable[:, 1:] != maskable[:, :-1]
    return begins.flatten().cumsum(0).view_as(starts) - 1


def draw_units(units: Tensor, maskable: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Return which places are hidden: each unit with probability `rate`, and at least one in each row."""
    draws = torch.rand(int(units.max()) + 1, generator=generator)[units]
    draws = torch.where(maskable, draws, torch.inf)
    lowest = draws.amin(1, keepdim=True)
    return ((draws < rate) | (draws == lowest)) & maskable


def draw_spans(
    units: Tensor, segments: Tensor, maskable: Tensor, rate: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return which places are hidden and the number of each place's span.

    Until the share `rate` of a row is hidden, a span begins at a word drawn evenly; its length in words is
    geometric with p = 0.2, at most ten (Joshi et al. 2020). A span ends where its text does.
    """
    hidden, spans = torch.zeros_like(maskable), torch.zeros_like(units)
    number = 0
    for row in range(len(units)):
        places = maskable[row].nonzero()[:, 0]
        if not len(places):
            continue
        words, first = torch.unique_consecutive(units[row, places], return_inverse=True)
        begins = torch.searchsorted(first, torch.arange(len(words) + 1))
        budget = max(1, round(rate * len(places)))
        order = torch.randperm(len(words), generator=generator).tolist()
        uniform = torch.rand(len(words), generator=generator).clamp(min=1e-12)
        sizes = (
            (uniform.log() / torch.log(torch.tensor(1 - _SPAN_ENDS))).long().add(1).clamp(max=_LONGEST_SPAN)
        )
        for word, size in zip(order, sizes.tolist(), strict=True):
            if budget <= 0:
                break
            last = min(word + size, len(words))
            # A span too long for what is left gives up words, so that the share holds in short rows too.
            while last > word + 1 and int(begins[last] - begins[word]) > budget:
                last -= 1
            chosen = places[int(begins[word]) : int(begins[last])]
            # Places that follow one another in one text: a mark between two texts ends the span.
            together = (segments[row, chosen] == segments[row, chosen[0]]) & (
                chosen - chosen[0] == torch.arange(len(chosen))
            )
            chosen = chosen[together & ~hidden[row, chosen]]
            hidden[row, chosen] = True
            spans[row, chosen] = number
            number += 1
            budget -= len(chosen)
    return hidden, spans


def replaced(
    tokens: Tensor,
    groups: Tensor,
    by: tuple[int, Tensor],
    shares: tuple[float, float],
    generator: torch.Generator,
) -> Tensor:
    """Return `tokens` with those replaced whose group is not negative; the places of a group have one fate.

    `by` is the mask's id and the ids that random tokens are drawn from; `shares` of the groups become the mask and
    a random token, the others stay what they are.
    """
    fates = torch.rand(max(int(groups.max()) + 1, 1), generator=generator)[groups.clamp(min=0)]
    drawn = by[1][torch.randint(len(by[1]), tokens.shape, generator=generator)]
    hidden = groups >= 0
    masked, random = hidden & (fates < shares[0]), hidden & (fates >= shares[0]) & (fates < sum(shares))
    return torch.where(masked, by[0], torch.where(random, drawn, tokens))
