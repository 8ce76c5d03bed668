"""Attention to a source: what an encoder has made of it, and how a decoder listens."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rootlm.layers.dense_attention import attend
from rootlm.layers.key_values import KeyValues
from rootlm.layers.linear import Linear


@dataclass
class Heard:
    """What is known of the sources of some rows; source r has `lengths[r]` places, 0 where none was read.

    Training has `encoded` (rows, places, width); a state has the `keys` and `values` that every layer made of it,
    (layers, rows, heads, places, head_size). Layers in `watched` leave their weights (rows, heads, time, places).
    `ids` (rows, places) are kept where they may be copied.
    """

    lengths: Tensor
    places: int
    encoded: Tensor | None = None
    keys: Tensor | None = None
    values: Tensor | None = None
    watched: tuple[int, ...] = ()
    weights: dict[int, Tensor] = field(default_factory=dict)
    ids: Tensor | None = None

    def select(self, rows: Tensor) -> Heard:
        """Return a copy with the given rows, in that order."""
        assert self.keys is not None and self.values is not None
        keys, values = self.keys[:, rows], self.values[:, rows]
        ids = None if self.ids is None else self.ids[rows]
        return Heard(self.lengths[rows], self.places, keys=keys, values=values, ids=ids)

    def join(self, other: Heard) -> Heard:
        """Return the sources of both, these first."""
        assert self.keys is not None and self.values is not None
        assert other.keys is not None and other.values is not None
        places = max(self.places, other.places)
        keys = torch.cat([_widen(self.keys, places), _widen(other.keys, places)], 1)
        values = torch.cat([_widen(self.values, places), _widen(other.values, places)], 1)
        ids = None
        if self.ids is not None and other.ids is not None:
            kept = (self.ids, other.ids)
            ids = torch.cat([nn.functional.pad(one, (0, places - one.shape[1])) for one in kept])
        return Heard(torch.cat([self.lengths, other.lengths]), places, keys=keys, values=values, ids=ids)

    def watching(self, *layers: int) -> Heard:
        """Return the same, with the weights of some layers to be left here."""
        return Heard(self.lengths, self.places, self.encoded, self.keys, self.values, layers, ids=self.ids)

    def mask(self, dtype: torch.dtype) -> Tensor | None:
        """Return what is added to scores, (rows, 1, 1, places), or None where every place is real."""
        if bool((self.lengths == self.places).all()):
            return None
        # A row without a source would have nothing to share its attention among; what it gets is left out later.
        padding = torch.arange(self.places, device=self.lengths.device) >= self.lengths.clamp(min=1)[:, None]
        return torch.zeros(padding.shape, dtype=dtype, device=padding.device).masked_fill_(
            padding, float("-inf")
        )[:, None, None]


@dataclass
class SourceState:
    """The encoded sources, as keys and values of every layer, and those of the targets so far."""

    own: KeyValues
    heard: Heard

    @property
    def lengths(self) -> Tensor:
        """Tokens of its target read by each row."""
        return self.own.lengths

    def select(self, rows: Tensor) -> SourceState:
        """Return a copy with the given rows, in that order."""
        return SourceState(self.own.select(rows), self.heard.select(rows))

    def replace(self, rows: Tensor, recent: Tensor) -> SourceState:
        """Make row i what row `rows[i]` is; they were one until their last tokens, so they heard one source."""
        return SourceState(self.own.replace(rows, recent), self.heard)

    def join(self, other: SourceState) -> SourceState:
        """Return a state with the rows of both, these first."""
        return SourceState(self.own.join(other.own), self.heard.join(other.heard))

    def rewind(self, counts: Tensor) -> SourceState:
        """Return a state in which each row has forgotten its last tokens; the sources stay."""
        return SourceState(self.own.rewind(counts), self.heard)


class CrossAttention(nn.Module):
    """softmax(q kᵀ / √d) v per head, the queries from the target, keys and values from the source.

    One matrix makes keys and values, in that order. A row that has read no source gets nothing from it. A `scale`
    takes the place of 1 / √d.
    """

    def __init__(
        self,
        *,
        width: int,
        n_heads: int,
        n_kv_heads: int,
        head_size: int,
        bias: bool,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_size = n_heads, n_kv_heads, head_size
        self.q = Linear(width, n_heads * head_size, bias=bias)
        parts = (n_kv_heads * head_size, n_kv_heads * head_size)
        self.kv = Linear(width, sum(parts), bias=bias, parts=parts)
        self.out = Linear(n_heads * head_size, width, bias=bias)
        # What queries are multiplied by, so that scores over √head_size have the scale that was asked for.
        self.q_factor = None if scale is None else scale * head_size**0.5

    def remember(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (rows, heads, places, head_size) of an encoded source (rows, places, width)."""
        rows, places, _ = encoded.shape
        kv = self.kv(encoded).view(rows, places, 2, self.n_kv_heads, self.head_size)
        return kv[:, :, 0].transpose(1, 2), kv[:, :, 1].transpose(1, 2)

    def forward(self, x: Tensor, heard: Heard, layer: int) -> Tensor:
        """Return (batch, time, width)."""
        if not heard.places:
            return torch.zeros_like(x)
        batch, time, _ = x.shape
        if heard.encoded is not None:
            k, v = self.remember(heard.encoded)
        else:
            assert heard.keys is not None and heard.values is not None
            k, v = heard.keys[layer], heard.values[layer]
        q = self.q(x).view(batch, time, self.n_heads, self.head_size).transpose(1, 2).to(k.dtype)
        if self.q_factor is not None:
            q = q * self.q_factor
        mask = heard.mask(q.dtype)
        if layer in heard.watched:
            heard.weights[layer] = _shares(q, k, mask) * _present(heard, 4)
        mixed = attend(q, k, v, mask, is_causal=False)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, time, -1).to(x.dtype))
        return out if mask is None else out * _present(heard, 3).to(out.dtype)


def _present(heard: Heard, dimensions: int) -> Tensor:
    """Return 1 for rows with a source and 0 for others."""
    return (heard.lengths > 0).view(-1, *[1] * (dimensions - 1))


def _shares(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    shared = q.shape[1] // k.shape[1]
    scores = (q @ k.repeat_interleave(shared, 1).transpose(-1, -2)).float() * q.shape[-1] ** -0.5
    shares: Tensor = (scores if mask is None else scores + mask).softmax(-1)
    return shares


def _widen(held: Tensor, places: int) -> Tensor:
    return nn.functional.pad(held, (0, 0, 0, places - held.shape[3]))
