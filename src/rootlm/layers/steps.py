"""A ragged batch laid out for step-by-step reading: first token of every row, second of every row, and so on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Steps:
    """`counts[t]` rows take part in step t, the longest rows first; a place is one token of one row.

    `order` says which row of the batch each is, `index` where each place lies in the flattened (rows, time), and
    `row_of` which row, in `order`, each place belongs to. The first two are None when all rows are equally long.
    """

    counts: list[int]
    row_of: Tensor
    order: Tensor | None
    index: Tensor | None

    @classmethod
    def of(cls, rows: int, time: int, sizes: Tensor | None, device: torch.device) -> Steps:
        """Lay out `rows` of `time` tokens each, or of `sizes` (rows,) tokens, at least one."""
        every = torch.arange(rows, device=device)
        if sizes is None:
            return cls([rows] * time, every.repeat(time), None, None)
        order = sizes.argsort(descending=True, stable=True)
        taking = torch.arange(time, device=device)[:, None] < sizes[order]  # (time, rows)
        lies = order * time + torch.arange(time, device=device)[:, None]
        counts = [count for count in taking.sum(1).tolist() if count]
        return cls(counts, every.expand(time, -1)[taking], order, lies[taking])

    @property
    def rows(self) -> int:
        """How many rows there are; all take part in the first step."""
        return self.counts[0]

    @property
    def are_equal(self) -> bool:
        """True when all rows are of one length."""
        return self.counts[-1] == self.counts[0]

    @property
    def mirror(self) -> Tensor:
        """The place that lies as far from its row's end as each place from its beginning, (places,)."""
        counts = torch.tensor(self.counts, device=self.row_of.device)
        begins = counts.cumsum(0) - counts
        step = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        sizes = self.row_of.bincount(minlength=self.rows)
        return begins[sizes[self.row_of] - 1 - step] + self.row_of

    def pack(self, values: Tensor) -> Tensor:
        """Return (rows, time, …) as (places, …)."""
        if self.index is None:
            return values.transpose(0, 1).flatten(0, 1)
        return values.flatten(0, 1)[self.index]

    def unpack(self, values: Tensor, time: int) -> Tensor:
        """Return (places, …) as (rows, time, …), zero beyond a row's end."""
        if self.index is None:
            return values.view(time, self.rows, *values.shape[1:]).transpose(0, 1)
        empty = values.new_zeros(self.rows * time, *values.shape[1:])
        return empty.index_put((self.index,), values).view(self.rows, time, *values.shape[1:])

    def sort(self, held: Tensor) -> Tensor:
        """Return (rows, …) of the batch in the order of the steps."""
        return held if self.order is None else held[self.order]

    def restore(self, held: Tensor) -> Tensor:
        """Undo `sort`."""
        return held if self.order is None else held[self.order.argsort()]
