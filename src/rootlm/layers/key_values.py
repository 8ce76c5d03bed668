"""The state of a decoder: keys and values of every layer, a row per sequence, in preallocated buffers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class KeyValues:
    """Keys and values, each (layers, rows, heads, capacity, head_size); row r holds `lengths[r]` tokens.

    Rows are left-aligned: token t of a row stands in slot t. `filled` is the longest row; `ragged` says that the
    rows may differ. `starts` is the slot at which each row's current segment began and `segments` its label. A network
    that reads a text again once it has become long keeps its `tokens` (rows, capacity), and whether it `is_long`.
    """

    keys: Tensor
    values: Tensor
    lengths: Tensor
    filled: int = 0
    ragged: bool = False
    starts: Tensor | None = None
    segments: Tensor | None = None
    tokens: Tensor | None = None
    is_long: Tensor | None = None

    @classmethod
    def empty(cls, layers: int, rows: int, shape: tuple[int, int, int], like: Tensor) -> KeyValues:
        """Return a state that has read nothing; `shape` is (heads, capacity, head_size), `like` gives the type."""
        heads, capacity, head_size = shape
        keys = like.new_zeros(layers, rows, heads, capacity, head_size)
        lengths = torch.zeros(rows, dtype=torch.int64, device=like.device)
        return cls(keys, torch.zeros_like(keys), lengths)

    @property
    def segmented(self) -> bool:
        """True when some row began a new segment while it was read."""
        return self.starts is not None

    def reserve(self, time: int) -> int:
        """Make room for `time` more tokens; return the number of key slots in use after them."""
        needed = self.filled + time
        capacity = self.keys.shape[3]
        if needed > capacity:
            extra = max(needed - capacity, capacity)
            self.keys = torch.nn.functional.pad(self.keys, (0, 0, 0, extra))
            self.values = torch.nn.functional.pad(self.values, (0, 0, 0, extra))
        return needed

    def write(self, layer: int, keys: Tensor, values: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values (rows, heads, time, head_size); return all of the layer's, in use."""
        time = keys.shape[2]
        end = self.filled + time
        held_keys, held_values = self.keys[layer], self.values[layer]
        if self.ragged:
            index = slots[:, None, :, None].expand_as(keys)
            held_keys.scatter_(2, index, keys.to(held_keys.dtype))
            held_values.scatter_(2, index, values.to(held_values.dtype))
        else:
            held_keys[:, :, self.filled : end] = keys
            held_values[:, :, self.filled : end] = values
        return held_keys[:, :, :end], held_values[:, :, :end]

    def lows(self, segments: Tensor | None, time: int) -> Tensor:
        """Return the first visible slot of each new token, (rows, time)."""
        old = torch.zeros_like(self.lengths) if self.starts is None else self.starts
        if segments is None:
            return old[:, None].expand(-1, time)
        label = segments[:, :1] if self.segments is None else self.segments[:, None]
        changed = torch.cat([label, segments], 1)[:, 1:] != torch.cat([label, segments], 1)[:, :-1]
        slots = self.lengths[:, None] + torch.arange(time, device=segments.device)
        return torch.maximum(torch.where(changed, slots, 0).cummax(1).values, old[:, None])

    def advance(
        self, time: int, lengths: Tensor | None, lows: Tensor | None, segments: Tensor | None
    ) -> KeyValues:
        """Count the tokens just written: `time` of each row, or `lengths` of them."""
        if segments is not None:
            last = (torch.full_like(self.lengths, time) if lengths is None else lengths).clamp(min=1) - 1
            assert lows is not None
            self.starts = lows.gather(1, last[:, None])[:, 0]
            self.segments = segments.gather(1, last[:, None])[:, 0]
        if lengths is None:
            self.lengths = self.lengths + time
            self.filled += time
        else:
            self.lengths = self.lengths + lengths
            self._measure()
        return self

    def select(self, rows: Tensor) -> KeyValues:
        """Return a copy with the given rows, in that order."""
        end = self.filled
        shape = (len(self.keys), len(rows), *self.keys.shape[2:])
        keys, values = self.keys.new_zeros(shape), self.values.new_zeros(shape)
        keys[:, :, :, :end] = self.keys[:, rows, :, :end]
        values[:, :, :, :end] = self.values[:, rows, :, :end]
        chosen = KeyValues(
            keys,
            values,
            self.lengths[rows],
            starts=None if self.starts is None else self.starts[rows],
            segments=None if self.segments is None else self.segments[rows],
            tokens=None if self.tokens is None else self.tokens[rows],
            is_long=None if self.is_long is None else self.is_long[rows],
        )
        return chosen._measure()

    def replace(self, rows: Tensor, recent: Tensor) -> KeyValues:
        """Make row i what row `rows[i]` is; they were one until their last `recent[i]` tokens. Changes this state."""
        count = torch.where(rows == torch.arange(len(rows), device=rows.device), 0, recent)
        to = torch.arange(len(rows), device=rows.device).repeat_interleave(count)
        # Places 1, 2, … of each row's stretch, counted back from its end.
        back = torch.arange(1, len(to) + 1, device=rows.device) - (count.cumsum(0) - count)[to]
        slots, origins = self.lengths[to] - back, rows[to]
        for held in (self.keys, self.values):
            by_slot = held.transpose(2, 3)
            by_slot[:, to, slots] = by_slot[:, origins, slots]
        self.starts = None if self.starts is None else self.starts[rows]
        self.segments = None if self.segments is None else self.segments[rows]
        self.tokens = None if self.tokens is None else self.tokens[rows]
        self.is_long = None if self.is_long is None else self.is_long[rows]
        return self

    def join(self, other: KeyValues) -> KeyValues:
        """Return a state with the rows of both, these first."""
        capacity = max(self.keys.shape[3], other.keys.shape[3])
        joined = KeyValues(
            torch.cat([_widen(self.keys, capacity), _widen(other.keys, capacity)], 1),
            torch.cat([_widen(self.values, capacity), _widen(other.values, capacity)], 1),
            torch.cat([self.lengths, other.lengths]),
        )
        if self.segmented or other.segmented:
            joined.starts = torch.cat([_or_zero(state.starts, state.lengths) for state in (self, other)])
            joined.segments = torch.cat([_or_zero(state.segments, state.lengths) for state in (self, other)])
        if self.tokens is not None and other.tokens is not None:
            width = max(self.tokens.shape[1], other.tokens.shape[1])
            both = [
                torch.nn.functional.pad(held, (0, width - held.shape[1]))
                for held in (self.tokens, other.tokens)
            ]
            joined.tokens = torch.cat(both)
        if self.is_long is not None and other.is_long is not None:
            joined.is_long = torch.cat([self.is_long, other.is_long])
        return joined._measure()

    def rewind(self, counts: Tensor) -> KeyValues:
        """Forget the last `counts[row]` tokens of each row; raises ValueError beyond a segment's beginning."""
        lengths = self.lengths - counts.to(self.lengths)
        floor = 0 if self.starts is None else self.starts
        if bool((lengths < floor).any()):
            raise ValueError("rewind goes back further than the row has read since its segment began")
        self.lengths = lengths
        return self._measure()

    def _measure(self) -> KeyValues:
        if not len(self.lengths):
            self.filled, self.ragged = 0, False
            return self
        shortest, longest = (int(value) for value in torch.aminmax(self.lengths))
        self.filled, self.ragged = longest, shortest != longest
        return self


def _widen(held: Tensor, capacity: int) -> Tensor:
    return torch.nn.functional.pad(held, (0, 0, 0, capacity - held.shape[3]))


def _or_zero(labels: Tensor | None, lengths: Tensor) -> Tensor:
    return torch.zeros_like(lengths) if labels is None else labels
