"""Rows taken apart at document borders: a ragged batch of pieces, each with its own beginning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

UNLABELLED = torch.iinfo(torch.int64).min
"""The segment of a row that has not been told one: the first label it reads does not begin another."""


@dataclass(frozen=True)
class Pieces:
    """Stretches of rows that are read without a reset in between; a piece lies in one row and holds at least a token.

    `rows`, `starts` and `sizes` (pieces,) say where each lies; `fresh` (pieces,) which begin without a memory;
    `last` (rows,) which piece a row ends in, −1 for a row that holds nothing.
    """

    rows: Tensor
    starts: Tensor
    sizes: Tensor
    fresh: Tensor
    last: Tensor
    longest: int

    @property
    def places(self) -> tuple[Tensor, Tensor]:
        """Row and column of every place of every piece, each (pieces, longest); beyond its end, of its last."""
        steps = torch.arange(self.longest, device=self.sizes.device)
        columns = self.starts[:, None] + torch.minimum(steps, self.sizes[:, None] - 1)
        return self.rows[:, None].expand_as(columns), columns

    @property
    def real(self) -> Tensor:
        """Which places of every piece are real, (pieces, longest)."""
        return torch.arange(self.longest, device=self.sizes.device) < self.sizes[:, None]

    def take(self, values: Tensor) -> Tensor:
        """Return (rows, time, …) as (pieces, longest, …)."""
        return values[self.places]

    def put_back(self, values: Tensor, time: int) -> Tensor:
        """Return (pieces, longest, …) as (rows, time, …), zero where no piece lies."""
        rows, columns = self.places
        real = self.real
        empty = values.new_zeros(len(self.last), time, *values.shape[2:])
        return empty.index_put((rows[real], columns[real]), values[real])

    def at_the_end(self, values: Tensor, otherwise: Tensor) -> Tensor:
        """Return, for each row, the value (pieces, …) of the piece it ends in, or `otherwise` (rows, …) without one."""
        found = values[self.last.clamp(min=0)]
        return torch.where((self.last >= 0).view(-1, *[1] * (found.ndim - 1)), found, otherwise)


def cut(
    tokens: Tensor, lengths: Tensor | None, segments: Tensor | None, held: Tensor | None
) -> Pieces | None:
    """Return the pieces of rows (rows, time), or None when each row is one whole piece that reads on.

    `held` (rows,) is the segment that each row read last, when a state says so.
    """
    count, time = tokens.shape
    if segments is not None and segments.shape != tokens.shape:
        raise ValueError(
            f"segments are {tuple(segments.shape)} and tokens {tuple(tokens.shape)}; give one for each"
        )
    begins = torch.zeros(count, time, dtype=torch.bool, device=tokens.device)
    if segments is not None:
        begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
        if held is not None:
            begins[:, 0] = (segments[:, 0] != held) & (held != UNLABELLED)
    if lengths is None and not bool(begins.any()):
        return None
    sizes = torch.full((count,), time, device=tokens.device) if lengths is None else lengths
    fresh = begins.clone()
    begins[:, 0] = True
    begins &= torch.arange(time, device=tokens.device) < sizes[:, None]
    rows, starts = begins.nonzero(as_tuple=True)
    ends = torch.cat([starts[1:], starts.new_zeros(1)])
    closes = torch.ones_like(rows, dtype=torch.bool)
    closes[:-1] = rows[1:] != rows[:-1]
    ends = torch.where(closes, sizes[rows], ends[: len(starts)])
    last = torch.full((count,), -1, device=tokens.device)
    last[rows[closes]] = closes.nonzero()[:, 0]
    longest = int((ends - starts).max()) if len(rows) else 0
    return Pieces(rows, starts, ends - starts, fresh[rows, starts], last, longest)
