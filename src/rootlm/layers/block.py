"""One layer of a Transformer, put together from built parts."""

from __future__ import annotations

from torch import Tensor, nn

from rootlm.layers.attention import Attention
from rootlm.layers.key_values import KeyValues
from rootlm.layers.places import Places
from rootlm.layers.positions import Positions


class Block(nn.Module):
    """x + attention(norm(x)), then x + feedforward(norm(x)): pre-norm."""

    def __init__(
        self, attention: Attention, feedforward: nn.Module, norms: tuple[nn.Module, nn.Module], dropout: float
    ) -> None:
        super().__init__()
        self.attention_norm, self.feedforward_norm = norms
        self.attention = attention
        self.feedforward = feedforward
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(
        self, x: Tensor, places: Places, positions: Positions, memory: tuple[KeyValues, int] | None = None
    ) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), places, positions, memory))
        out: Tensor = x + self.dropout(self.feedforward(self.feedforward_norm(x)))
        return out
