"""Ragged rows laid end to end in fewer rows, so that nothing is computed for padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Lines:
    """Where the real tokens of (rows, time) stand in lines of the length of the longest row.

    `places` (real tokens,) are their places in the flattened rows, `slots` those in the flattened lines, `labels`
    (lines, length) number the rows that lie in a line, and what is empty.
    """

    places: Tensor
    slots: Tensor
    labels: Tensor

    def lay(self, rows: Tensor) -> Tensor:
        """Return (lines, length) with the real tokens of `rows` (rows, time), 0 where nothing lies."""
        return (
            torch.zeros_like(self.labels)
            .flatten()
            .index_copy(0, self.slots, rows.flatten()[self.places])
            .view_as(self.labels)
        )

    def take_up(self, lines: Tensor, shape: torch.Size) -> Tensor:
        """Return (rows, time, width) from `lines` (lines, length, width), 0 beyond the end of a row."""
        rows, time = shape
        flat = lines.new_zeros(rows * time, lines.shape[-1])
        return flat.index_copy(0, self.places, lines.flatten(0, 1)[self.slots]).view(rows, time, -1)


def lines_of(lengths: Tensor, time: int) -> Lines | None:
    """Lay rows of these `lengths` (rows,), of `time` places, end to end; None when that saves no row.

    Each row goes into the first line with room for it, longest rows first (first fit decreasing; Johnson 1973).
    A line is no longer than the longest row: attention costs its square.

    >>> lines_of(torch.tensor([2, 4, 1]), 5).labels
    tensor([[1, 1, 1, 1],
            [0, 0, 2, 3]])
    """
    sizes: list[int] = lengths.tolist()
    longest = max(sizes)
    ends: list[int] = []
    begins = [0] * len(sizes)
    for row in sorted(range(len(sizes)), key=lambda row: -sizes[row]):
        line = next((number for number, end in enumerate(ends) if end + sizes[row] <= longest), len(ends))
        if line == len(ends):
            ends.append(0)
        begins[row] = line * longest + ends[line]
        ends[line] += sizes[row]
    if len(ends) == len(sizes) and longest == time:
        return None
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    within = torch.cat([torch.arange(size) for size in sizes])
    slots = torch.tensor(begins)[owner] + within
    labels = torch.full((len(ends) * longest,), len(sizes)).index_copy(0, slots, owner)
    device = lengths.device
    return Lines(
        (owner * time + within).to(device), slots.to(device), labels.view(len(ends), longest).to(device)
    )
