"""What an n-gram model remembers of each row: the tokens read, and where its segment began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass
class Read:
    """The state: every token read, a row per sequence, so that forgetting some is exact.

    `starts` is where the current segment of each row began and `segments` its label, once there was one.
    """

    tokens: Tensor
    """(rows, capacity) int64; row r holds `lengths[r]` tokens, left-aligned."""
    lengths: Tensor
    starts: Tensor
    segments: Tensor | None = None

    def select(self, rows: Tensor) -> Read:
        """Return a copy with the given rows, in that order."""
        rows = rows.cpu()
        segments = None if self.segments is None else self.segments[rows]
        return Read(self.tokens[rows], self.lengths[rows], self.starts[rows], segments)

    def join(self, other: Read) -> Read:
        """Return a state with the rows of both, these first."""
        width = max(self.tokens.shape[1], other.tokens.shape[1])
        pairs = ((state.tokens, width - state.tokens.shape[1]) for state in (self, other))
        tokens = torch.cat([torch.nn.functional.pad(tokens, (0, more)) for tokens, more in pairs])
        segments = None
        if self.segments is not None or other.segments is not None:
            none = (torch.zeros_like(state.lengths) for state in (self, other))
            labels = zip((self.segments, other.segments), none, strict=True)
            segments = torch.cat([zero if label is None else label for label, zero in labels])
        lengths, starts = torch.cat([self.lengths, other.lengths]), torch.cat([self.starts, other.starts])
        return Read(tokens, lengths, starts, segments)

    def rewind(self, counts: Tensor) -> Read:
        """Forget the last `counts[row]` tokens of each row; raises ValueError beyond a segment's beginning."""
        lengths = self.lengths - counts.to(self.lengths)
        if bool((lengths < self.starts).any()):
            raise ValueError("rewind goes back further than the row has read since its segment began")
        return replace(self, lengths=lengths)

    def tensors(self) -> Mapping[str, Tensor]:
        """Return all it holds, by name."""
        held = {"tokens": self.tokens, "lengths": self.lengths, "starts": self.starts}
        return held if self.segments is None else {**held, "segments": self.segments}

    def filled(self, tensors: Mapping[str, Tensor]) -> Read:
        """Return the state that gave these tensors."""
        return Read(**tensors)

    def before(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the last `count` tokens of each row, right-aligned, and how many of them are of its segment."""
        places = self.lengths[:, None] - count + torch.arange(count)
        held = torch.minimum(self.lengths - self.starts, torch.tensor(count))
        if not self.tokens.shape[1]:
            return torch.zeros(len(self.lengths), count, dtype=torch.int64), held
        return self.tokens.gather(1, places.clamp(min=0)), held

    def after(self, tokens: Tensor, lengths: Tensor | None, lows: Tensor, segments: Tensor | None) -> Read:
        """Return the state after `tokens`; `lows` says where in each row the segment of each of them began."""
        rows, time = tokens.shape
        more = torch.full_like(self.lengths, time) if lengths is None else lengths.cpu()
        needed = int(self.lengths.max()) + time if rows else time
        held = self.tokens
        if needed > held.shape[1]:
            held = torch.nn.functional.pad(held, (0, max(needed, 2 * held.shape[1]) - held.shape[1]))
        held.scatter_(1, self.lengths[:, None] + torch.arange(time), tokens)
        starts, labels = self.starts, self.segments
        if segments is not None:
            last = more.clamp(min=1)[:, None] - 1
            starts, labels = lows.gather(1, last)[:, 0], segments.gather(1, last)[:, 0]
        return Read(held, self.lengths + more, starts, labels)


def changes(tokens: Tensor, segments: Tensor | None, held: Read) -> Tensor:
    """Tell where a place begins a segment, (batch, time)."""
    if segments is None:
        return torch.zeros_like(tokens, dtype=torch.bool)
    label = segments[:, :1] if held.segments is None else held.segments[:, None]
    both = torch.cat([label, segments], 1)
    return both[:, 1:] != both[:, :-1]
