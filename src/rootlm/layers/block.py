"""One layer of a Transformer, put together from built parts."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from rootlm.layers.attention import Attention
from rootlm.layers.key_values import KeyValues
from rootlm.layers.places import Places
from rootlm.layers.positions import Positions

Order = Literal["pre", "post"]
"""Where a part's norm stands: before the part, off the stream, or after the sum, on it."""


class Block(nn.Module):
    """Attention, then feed-forward, each f added to the stream.

    Pre-norm is x + f(norm(x)); post-norm is norm(x + f(x)), as in the 2017 Transformer and BERT.
    """

    def __init__(
        self,
        attention: Attention,
        feedforward: nn.Module,
        norms: tuple[nn.Module, nn.Module],
        dropout: float,
        *,
        order: Order = "pre",
    ) -> None:
        super().__init__()
        self.order = order
        self.attention_norm, self.feedforward_norm = norms
        self.attention = attention
        self.feedforward = feedforward
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(
        self, x: Tensor, places: Places, positions: Positions, memory: tuple[KeyValues, int] | None = None
    ) -> Tensor:
        if self.order == "post":
            x = self.attention_norm(x + self.dropout(self.attention(x, places, positions, memory)))
            last: Tensor = self.feedforward_norm(x + self.dropout(self.feedforward(x)))
            return last
        x = x + self.dropout(self.attention(self.attention_norm(x), places, positions, memory))
        out: Tensor = x + self.dropout(self.feedforward(self.feedforward_norm(x)))
        return out
