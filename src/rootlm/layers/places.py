"""Where every token of one read stands: its position, what it may see, shared by all layers of a model."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rootlm.layers.key_values import KeyValues
from rootlm.layers.positions import Positions


@dataclass
class Places:
    """The positions of one read and the masks that follow from them.

    `positions` (batch, time) count from the start of a token's segment; `slots` (batch, time) say where its key
    stands among all keys of its row; `lows` (batch, time) is where its segment begins, before which it sees
    nothing. All int64. With `causal` a token sees itself and what comes before it, else all of its segment.
    """

    positions: Tensor
    slots: Tensor
    lows: Tensor | None
    keys: int
    causal_only: bool
    single: bool
    dtype: torch.dtype
    rotation: tuple[Tensor, Tensor] | None = None
    window_rotation: tuple[Tensor, Tensor] | None = None
    """What layers with a window turn by, where that is something else."""
    causal: bool = True
    counts: Tensor | None = None
    """How many keys of each row are real, (batch,), where the rest is padding that would be seen."""
    texts: Tensor | None = None
    """How many tokens of each row are text, (batch,), where the rest is padding."""
    starts: Tensor | None = None
    """Where the text began that each row's earlier keys belong to, (batch,); none is at its first."""
    _masks: dict[int | None, Tensor] = field(default_factory=dict)

    @property
    def is_causal(self) -> bool:
        """Whether attention that has no mask must look back only."""
        return self.causal and not self.single

    def turn(self, positions: Positions, dtype: torch.dtype) -> Places:
        """Let positions say what queries and keys turn by; returns itself."""
        self.rotation = positions.rotation(self, dtype)
        self.window_rotation = positions.window_rotation(self, dtype)
        return self

    def text_lengths(self) -> Tensor:
        """Return how long, as far as it has been read, the text is that each token stands in, (batch, time)."""
        ends, lows = self._ends()
        return (ends.gather(1, lows) - lows).clamp(min=1)

    def open_length(self) -> Tensor:
        """Return how long the text now is that each row was in before, (batch,); 0 if the read begins another."""
        ends, lows = self._ends()
        first = torch.zeros_like(lows[:, :1]) if self.starts is None else self.starts[:, None]
        return (ends.gather(1, first) - first).clamp(min=0)[:, 0]

    def _ends(self) -> tuple[Tensor, Tensor]:
        """Return where the text ends that begins at each slot, (batch, keys), and the lows of all rows."""
        rows = max(len(self.slots), 1 if self.texts is None else len(self.texts))
        slots = self.slots.expand(rows, -1)
        lows = torch.zeros_like(slots) if self.lows is None else self.lows.expand(rows, -1)
        ends = slots + 1
        if self.texts is not None:
            steps = torch.arange(slots.shape[1], device=slots.device)
            ends = ends.masked_fill(steps >= self.texts[:, None], 0)
        none = torch.zeros(rows, self.keys, dtype=torch.int64, device=slots.device)
        return none.scatter_reduce(1, lows, ends, "amax"), lows

    def mask(self, window: int | None, positions: Positions) -> Tensor | None:
        """Return what is added to attention scores, (batch or 1, heads or 1, time, keys), or None.

        None means that `is_causal` says it all. A window of w lets a token see itself and w − 1 before it, and
        after it where it sees what comes. What `positions` say of distances is added.
        """
        narrow = window is not None and window < self.keys
        plain = self.causal_only or self.single
        if plain and not narrow and not positions.biased:
            return None
        if window not in self._masks:
            self._masks[window] = self._build(window if narrow else None, positions)
        return self._masks[window]

    def _build(self, window: int | None, positions: Positions) -> Tensor:
        key_slots = torch.arange(self.keys, device=self.slots.device)
        distances = self.slots[:, :, None] - key_slots
        hidden = (distances < 0) if self.causal else torch.zeros_like(distances, dtype=torch.bool)
        if self.counts is not None:
            hidden = hidden | (key_slots >= self.counts[:, None, None])
        if self.lows is not None and self.causal:
            hidden = hidden | (key_slots < self.lows[:, :, None])
        elif self.lows is not None:
            hidden = hidden | (self.lows[:, :, None] != self.lows[:, None, :])
        if window is not None:
            hidden = hidden | (distances.abs() >= window)
        bias = positions.bias(distances) if positions.biased else torch.zeros((), device=hidden.device)
        return torch.where(hidden[:, None], float("-inf"), bias).to(self.dtype)


def locate(
    tokens: Tensor,
    state: KeyValues | None,
    lengths: Tensor | None,
    segments: Tensor | None,
    dtype: torch.dtype,
) -> Places:
    """Return the places of `tokens` (batch, time) read after `state`."""
    places = _located(tokens, state, segments, dtype)
    places.texts, places.starts = lengths, None if state is None else state.starts
    return places


def _located(tokens: Tensor, state: KeyValues | None, segments: Tensor | None, dtype: torch.dtype) -> Places:
    time = tokens.shape[1]
    steps = torch.arange(time, device=tokens.device)
    if state is None:
        slots = steps.expand(1, time)
        if segments is None:
            return Places(slots, slots, None, time, causal_only=True, single=time == 1, dtype=dtype)
        lows = segment_starts(segments)
        return Places(steps - lows, slots, lows, time, causal_only=False, single=False, dtype=dtype)
    keys = state.reserve(time)
    uniform = not state.ragged
    if uniform and segments is None and not state.segmented:
        slots = (steps + state.filled).expand(1, time)
        first = state.filled == 0
        return Places(slots, slots, None, keys, causal_only=first, single=time == 1, dtype=dtype)
    slots = state.lengths[:, None] + steps
    lows = state.lows(segments, time)
    return Places(slots - lows, slots, lows, keys, causal_only=False, single=False, dtype=dtype)


def surround(
    tokens: Tensor,
    dtype: torch.dtype,
    *,
    lengths: Tensor | None = None,
    segments: Tensor | None = None,
) -> Places:
    """Return the places of right-padded rows (batch, time) in which every token sees all of its segment.

    Without `lengths` (batch,) all tokens are real; without `segments` a row is one.
    """
    time = tokens.shape[1]
    slots = torch.arange(time, device=tokens.device).expand(1, time)
    lows = None if segments is None else segment_starts(segments)
    positions = slots if lows is None else slots - lows
    plain = lows is None and lengths is None
    places = Places(positions, slots, lows, time, causal_only=plain, single=False, dtype=dtype, causal=False)
    places.counts = places.texts = lengths
    return places


def segment_starts(segments: Tensor) -> Tensor:
    """Return for every position of (batch, time) the index at which its segment begins.

    >>> segment_starts(torch.tensor([[4, 4, 5, 7, 7]])).tolist()
    [[0, 0, 2, 3, 3]]
    """
    steps = torch.arange(segments.shape[1], device=segments.device)
    changed = segments[:, 1:] != segments[:, :-1]
    starts = torch.where(changed, steps[1:], 0)
    return torch.cat([torch.zeros_like(segments[:, :1]), starts], 1).cummax(1).values
