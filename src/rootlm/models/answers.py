"""What is asked of a stream's last layer: logits, costs or ranks, through any head, without holding more than asked."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rootlm.layers import cross_entropy
from rootlm.models.interface import All, Ask, Last, Ranks, Targets


def answer(head: nn.Module, hidden: Tensor, lengths: Tensor | None, ask: Ask) -> Tensor:
    """Return the values that `ask` wants of `hidden` (batch, time, width), as `LanguageModel.forward` says."""
    batch, time, width = hidden.shape
    values: Tensor
    match ask:
        case All():
            values = head(hidden)
        case Last(count):
            values = head(ends(hidden, lengths, count))
        case Targets():
            weights = None if ask.weights is None else ask.weights.reshape(-1)
            costs = cross_entropy.Costs(ask.label_smoothing, ask.z_loss)
            flat, ids = hidden.reshape(-1, width), ask.ids.reshape(-1)
            values = cross_entropy.negative_log_likelihood(head, flat, ids, costs, weights)
            values = values.view(batch, time)
        case Ranks():
            values = cross_entropy.ranks(head, hidden.reshape(-1, width), ask.ids.reshape(-1))
            values = values.view(batch, time, 2)
    return values


def ends(hidden: Tensor, lengths: Tensor | None, count: int) -> Tensor:
    """Return the last `count` real places of each row, (batch, count, width)."""
    if lengths is None:
        return hidden[:, hidden.shape[1] - count :]
    index = lengths[:, None] - count + torch.arange(count, device=hidden.device)
    return hidden.gather(1, index.clamp(min=0)[:, :, None].expand(-1, -1, hidden.shape[2]))
