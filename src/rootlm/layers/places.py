"""Where every token of one read stands: its position, what it may see, shared by all layers of a model."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rootlm.layers.key_values import KeyValues


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
    causal: bool = True
    _masks: dict[int | None, Tensor] = field(default_factory=dict)

    def mask(self, window: int | None, slopes: list[float] | None = None) -> Tensor | None:
        """Return what is added to attention scores, (batch or 1, heads or 1, time, keys), or None.

        None means that `is_causal` says it all. A window of w lets a token see itself and w − 1 before it, and
        after it where it sees what comes. With `slopes` (heads,) the ALiBi bias −slope · distance is added
        (Press et al. 2022).
        """
        narrow = window is not None and window < self.keys
        if slopes is None and not narrow and (self.causal_only or self.single):
            return None
        if window not in self._masks:
            self._masks[window] = self._build(window if narrow else None, slopes)
        return self._masks[window]

    def _build(self, window: int | None, slopes: list[float] | None) -> Tensor:
        key_slots = torch.arange(self.keys, device=self.slots.device)
        distances = self.slots[:, :, None] - key_slots
        if self.causal:
            hidden = distances < 0
            if self.lows is not None:
                hidden = hidden | (key_slots < self.lows[:, :, None])
        else:
            distances = distances.abs()
            apart = torch.zeros_like(distances, dtype=torch.bool)
            hidden = apart if self.lows is None else self.lows[:, :, None] != self.lows[:, None, :]
        if window is not None:
            hidden = hidden | (distances >= window)
        if slopes is None:
            bias = torch.zeros((), device=hidden.device)
        else:
            bias = -torch.tensor(slopes, device=hidden.device)[:, None, None] * distances[:, None]
        return torch.where(hidden[:, None], float("-inf"), bias).to(self.dtype)


def locate(
    tokens: Tensor,
    state: KeyValues | None,
    lengths: Tensor | None,
    segments: Tensor | None,
    dtype: torch.dtype,
) -> Places:
    """Return the places of `tokens` (batch, time) read after `state`."""
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


def surround_segments(tokens: Tensor, segments: Tensor | None, dtype: torch.dtype) -> Places:
    """Return the places of `tokens` (batch, time) that each see all of their segment, before them and after."""
    time = tokens.shape[1]
    steps = torch.arange(time, device=tokens.device).expand(1, time)
    if segments is None:
        return Places(steps, steps, None, time, causal_only=True, single=False, dtype=dtype, causal=False)
    lows = segment_starts(segments)
    return Places(steps - lows, steps, lows, time, causal_only=False, single=False, dtype=dtype, causal=False)


def segment_starts(segments: Tensor) -> Tensor:
    """Return for every position of (batch, time) the index at which its segment begins.

    >>> segment_starts(torch.tensor([[4, 4, 5, 7, 7]])).tolist()
    [[0, 0, 2, 3, 3]]
    """
    steps = torch.arange(segments.shape[1], device=segments.device)
    changed = segments[:, 1:] != segments[:, :-1]
    starts = torch.where(changed, steps[1:], 0)
    return torch.cat([torch.zeros_like(segments[:, :1]), starts], 1).cummax(1).values
