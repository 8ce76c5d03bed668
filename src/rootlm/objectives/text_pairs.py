"""Two texts in one row: the second one follows the first, stood before it, or comes from elsewhere."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NOTHING = -1
"""The answer of a row that is not asked."""


class Pairs(NamedTuple):
    """Rows of begin mark + first + end mark + second + end mark, right-padded; all (rows, time) but the last three.

    `types` is 1 from the second text on. `lengths`, `next_sentence` (1: the second follows, 0: it is from elsewhere)
    and `sentence_order` (1: in order, 0: swapped) are (rows,); an answer is `NOTHING` where nothing is asked.
    """

    tokens: Tensor
    starts: Tensor
    types: Tensor
    segments: Tensor
    lengths: Tensor
    next_sentence: Tensor
    sentence_order: Tensor


def pair_up(
    columns: tuple[Tensor, Tensor, Tensor],
    marks: tuple[int, int],
    kinds: tuple[bool, bool],
    generator: torch.Generator,
) -> Pairs:
    """Make pairs of the longest text of every row; a half of each goes with the other, or with one from elsewhere.

    `columns` are tokens, word starts and documents (rows, time), the document negative where there is no text.
    `marks` begin and end a text. `kinds` say whether pairs from elsewhere, and swapped ones, are wanted: each kind
    wanted is drawn as often as the pairs left as they are (Devlin et al. 2019; Lan et al. 2020).
    """
    tokens, starts, documents = columns
    rows, time = tokens.shape
    halves = [_halves(*row, time - 3) for row in zip(tokens, starts, documents, strict=True)]
    wanted = [0, *([1] if kinds[0] else []), *([2] if kinds[1] else [])]
    drawn = torch.tensor(wanted)[torch.randint(len(wanted), (rows,), generator=generator)].tolist()
    lenders = torch.randperm(rows, generator=generator).tolist()
    made = Pairs(
        torch.full_like(tokens, marks[1]),
        torch.ones_like(starts),
        torch.zeros_like(tokens),
        torch.ones_like(tokens),
        torch.zeros(rows, dtype=torch.int64),
        torch.full((rows,), NOTHING),
        torch.full((rows,), NOTHING),
    )
    for row, fate in enumerate(drawn):
        first, second, document = halves[row]
        other = next((halves[one] for one in lenders if halves[one][2] != document), None)
        kind = 0 if other is None and fate == 1 else fate
        if kind == 1 and other is not None:
            second = other[1]
        if kind == 2:
            first, second = second, first
        _write(made, row, (first, second), marks)
        if len(first[0]) and len(second[0]):
            made.next_sentence[row] = {0: 1, 1: 0, 2: NOTHING}[kind] if kinds[0] else NOTHING
            made.sentence_order[row] = {0: 1, 1: NOTHING, 2: 0}[kind] if kinds[1] else NOTHING
    return made


_Half = tuple[Tensor, Tensor]


def _halves(tokens: Tensor, starts: Tensor, documents: Tensor, room: int) -> tuple[_Half, _Half, int]:
    """Return the halves of the longest text of a row, cut where a word begins, and its document."""
    runs, counts = torch.unique_consecutive(documents, return_counts=True)
    counts = torch.where(runs >= 0, counts, 0)
    longest = int(counts.argmax())
    ends = torch.unique_consecutive(documents, return_counts=True)[1].cumsum(0)
    end = int(ends[longest])
    size = min(int(counts[longest]), room)
    place = slice(end - size, end)
    text, begins = tokens[place], starts[place]
    borders = begins.nonzero()[:, 0]
    inner = borders[(borders > 0) & (borders < size)]
    middle = size // 2 if not len(inner) else int(inner[(inner - size // 2).abs().argmin()])
    return (text[:middle], begins[:middle]), (text[middle:], begins[middle:]), int(runs[longest])


def _write(made: Pairs, row: int, halves: tuple[_Half, _Half], marks: tuple[int, int]) -> None:
    (first, first_starts), (second, second_starts) = halves
    border = 2 + len(first)
    room = made.tokens.shape[1] - border - 1
    second, second_starts = second[:room], second_starts[:room]
    length = border + len(second) + 1
    made.tokens[row, 0] = marks[0]
    made.tokens[row, 1 : border - 1] = first
    made.tokens[row, border - 1] = marks[1]
    made.tokens[row, border : length - 1] = second
    made.starts[row, 1 : border - 1] = first_starts
    made.starts[row, border : length - 1] = second_starts
    made.types[row, border:length] = 1
    made.segments[row, :length] = 0
    made.lengths[row] = length
