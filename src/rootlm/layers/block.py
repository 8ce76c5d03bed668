"""One layer of a Transformer, put together from built parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from rootlm.layers.attention import Attention
from rootlm.layers.cross_attention import CrossAttention, Heard
from rootlm.layers.dropout import Dropout
from rootlm.layers.key_values import KeyValues
from rootlm.layers.places import Places
from rootlm.layers.positions import Positions

Order = Literal["pre", "post"]
"""`pre`: x + part(norm(x)) (Xiong et al. 2020); `post`: norm(x + part(x)), as in the Transformer of 2017."""
DecoderOrder = Literal["pre", "parallel", "around", "after"]
"""`parallel`: both parts read the same stream, each through its norm (Wang & Komatsuzaki 2021);
`around`: x + norm'(part(norm(x))), as in Gemma 2; `after`: x + norm(part(x)), as in OLMo 2."""


class Block(nn.Module):
    """Attention, then attention to a source where there is one, then feed-forward; each is added to the stream."""

    def __init__(
        self,
        attention: Attention,
        feedforward: nn.Module,
        norms: tuple[nn.Module, ...],
        dropout: float,
        *,
        order: Order | DecoderOrder = "pre",
        cross: tuple[CrossAttention, nn.Module] | None = None,
    ) -> None:
        """`norms` are that of the attention and that of the feed-forward part; around them, two more behind each.

        `cross` is the attention to a source, and its norm.
        """
        super().__init__()
        self.attention_norm, self.feedforward_norm = norms[:2]
        if order == "around":
            self.attention_end_norm, self.feedforward_end_norm = norms[2:]
        self.attention = attention
        self.cross = None if cross is None else cross[0]
        self.cross_norm = None if cross is None else cross[1]
        self.feedforward = feedforward
        self.order = order
        self.dropout = Dropout(dropout) if dropout else nn.Identity()

    def forward(
        self,
        x: Tensor,
        places: Places,
        positions: Positions,
        memory: tuple[KeyValues, int] | None = None,
        heard: tuple[Heard, int] | None = None,
    ) -> Tensor:
        """Return the stream (batch, time, width); `memory` and `heard` come with the layer's number."""
        if self.order == "parallel":
            attended = self.attention(self.attention_norm(x), places, positions, memory)
            parallel: Tensor = x + self.dropout(attended + self.feedforward(self.feedforward_norm(x)))
            return parallel
        if self.order == "around":
            attended = self.attention(self.attention_norm(x), places, positions, memory)
            x = x + self.dropout(self.attention_end_norm(attended))
            fed = self.feedforward(self.feedforward_norm(x))
            around: Tensor = x + self.dropout(self.feedforward_end_norm(fed))
            return around
        x = self._add(x, self.attention_norm, lambda y: self.attention(y, places, positions, memory))
        cross, norm = self.cross, self.cross_norm
        if cross is not None and norm is not None and heard is not None:
            x = self._add(x, norm, lambda y: cross(y, *heard))
        return self._add(x, self.feedforward_norm, self.feedforward)

    def _add(self, x: Tensor, norm: nn.Module, part: Callable[[Tensor], Tensor]) -> Tensor:
        if self.order == "pre":
            out: Tensor = x + self.dropout(part(norm(x)))
        elif self.order == "after":
            out = x + self.dropout(norm(part(x)))
        else:
            out = norm(x + self.dropout(part(x)))
        return out
