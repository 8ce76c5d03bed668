"""Texts that are read again from their beginning, once they are so long that every number in the network changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rootlm.layers.key_values import KeyValues
from rootlm.layers.places import Places, locate
from rootlm.layers.positions import RotaryConfig
from rootlm.layers.rotary_scaling import LongRopeScaling

if TYPE_CHECKING:
    from rootlm.models.decoder import Decoder, DecoderConfig


def short_until(config: DecoderConfig) -> int | None:
    """Return the longest text that is read as a short one, or None where all texts are read alike.

    With LongRoPE keys and values of a short text are wrong for a long one, in every layer but the first.
    """
    scaling = config.position.scaling if isinstance(config.position, RotaryConfig) else None
    return scaling.original if isinstance(scaling, LongRopeScaling) else None


def remember(state: KeyValues) -> KeyValues:
    """Let a state that has read nothing keep its tokens; returns it."""
    state.tokens = torch.zeros_like(state.lengths)[:, None].expand(-1, 0)
    state.is_long = torch.zeros_like(state.lengths, dtype=torch.bool)
    return state


def note(state: KeyValues, tokens: Tensor) -> None:
    """Keep the tokens (rows, time) that are about to be read."""
    assert state.tokens is not None
    time = tokens.shape[1]
    missing = state.filled + time - state.tokens.shape[1]
    if missing > 0:
        state.tokens = torch.nn.functional.pad(state.tokens, (0, missing))
    slots = state.lengths[:, None] + torch.arange(time, device=tokens.device)
    state.tokens = state.tokens.scatter(1, slots, tokens)


def must_read_again(state: KeyValues, places: Places, border: int) -> bool:
    """Return whether what is held of some row was read as short, and the text is now long, or the other way."""
    assert state.is_long is not None
    length = places.open_length()
    held = state.lengths > (0 if state.starts is None else state.starts)
    return bool((held & (length > 0) & ((length > border) != state.is_long)).any())


def read_again(
    model: Decoder, state: KeyValues, time: int, lengths: Tensor | None, segments: Tensor | None
) -> tuple[Tensor, KeyValues]:
    """Read each row's open text and the `time` tokens noted last; returns their stream (rows, time, width).

    The state returned has forgotten what came before the open text.
    """
    assert state.tokens is not None
    first = torch.zeros_like(state.lengths) if state.starts is None else state.starts
    kept = state.lengths - first
    new = torch.full_like(kept, time) if lengths is None else lengths
    counts = kept + new
    # Padding behind a row's new tokens is read as well, so that each of the `time` has a stream.
    width = int(kept.max()) + time
    steps = torch.arange(width, device=first.device).expand(len(first), -1)
    whole = state.tokens.gather(1, (first[:, None] + steps).clamp(max=state.tokens.shape[1] - 1))
    labels = None
    if segments is not None:
        old = segments[:, 0] if state.segments is None else state.segments
        later = segments.gather(1, (steps - kept[:, None]).clamp(0, time - 1))
        labels = torch.where(steps < kept[:, None], old[:, None], later)
    fresh = model.begin(len(first), width)
    places = locate(whole, fresh, counts, labels, fresh.keys.dtype)
    stream = model.trunk(whole, places, fresh)
    asked = (kept[:, None] + torch.arange(time, device=first.device))[..., None]
    hidden = stream.gather(1, asked.expand(-1, -1, stream.shape[2]))
    note(fresh, whole)
    fresh = fresh.advance(width, counts, places.lows, labels)
    if segments is None and state.segments is not None:
        fresh.starts, fresh.segments = torch.zeros_like(first), state.segments
    return hidden, fresh
