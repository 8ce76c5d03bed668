"""Copying from a source: part of what is said next is what is listened to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rootlm.layers.cross_entropy import CHUNK_VALUES
from rootlm.models.answers import ends
from rootlm.models.interface import All, Ask, Last, Targets

_LEAST = 1e-30


class Listened(NamedTuple):
    """What each token listens to, `shares` (batch, time, places), and the ids (batch, places) that stand there."""

    shares: Tensor
    ids: Tensor


class Pointer(nn.Module):
    """p(id) = g · softmax(head(h))[id] + (1 − g) · Σ shares of the places that hold it, with g = σ(w h + b).

    That is the pointer–generator of See et al. (2017). A row that listens to nothing has a g of 1. What is answered as
    logits is ln p.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        # No Linear of the house: it is one row, read below as it stands, and nothing for an adapter.
        self.gate = nn.Linear(width, 1)

    def begin_by_saying(self) -> None:
        """Let g be near 0.9: before anything is learned, what is listened to says nothing."""
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, 2.0)

    def answer(
        self, head: nn.Module, hidden: Tensor, listened: Listened, lengths: Tensor | None, ask: Ask
    ) -> Tensor:
        """Return the values that `ask` wants of `hidden` (batch, time, width), as `LanguageModel.forward` says."""
        batch, time, _ = hidden.shape
        shares, ids = listened
        if isinstance(ask, All):
            return self.logprobs(head, hidden, shares, ids)
        if isinstance(ask, Last):
            last, heard = ends(hidden, lengths, ask.count), ends(shares, lengths, ask.count)
            return self.logprobs(head, last, heard, ids)
        smoothing = ask.label_smoothing if isinstance(ask, Targets) else None
        rows = _rows(batch, time * int(getattr(head, "out_features", 32768)))
        many, found = batch > 1 and torch.is_grad_enabled(), []
        for one in rows:
            given = (head, hidden[one], shares[one], ids[one], ask.ids[one], smoothing)
            whole = one.stop - one.start >= batch or not many
            found.append(
                self._costs(*given) if whole else checkpoint(self._costs, *given, use_reentrant=False)
            )
        return torch.cat(found)

    def logprobs(self, head: nn.Module, hidden: Tensor, shares: Tensor, ids: Tensor) -> Tensor:
        """Return ln p of everything, (batch, time, vocabulary), float32."""
        said = head(hidden).float().softmax(-1)
        # A share of nothing is nothing: then all is said.
        copied = shares.float() * self.copied(hidden)
        chances = said * (1 - copied.sum(-1, keepdim=True))
        places = ids[:, None].expand(-1, shares.shape[1], -1)
        logprobs: Tensor = chances.scatter_add(2, places, copied).clamp(min=_LEAST).log()
        return logprobs

    def copied(self, hidden: Tensor) -> Tensor:
        """Return 1 − g, (batch, time, 1), float32."""
        # A product with a single row would round by where the row lies in memory.
        along = (hidden.float() * self.gate.weight[0]).sum(-1, keepdim=True)
        return torch.sigmoid(-along - self.gate.bias)

    def _costs(  # noqa: PLR0917 - what is made again in the backward pass is passed by position
        self,
        head: nn.Module,
        hidden: Tensor,
        shares: Tensor,
        ids: Tensor,
        targets: Tensor,
        smoothing: float | None,
    ) -> Tensor:
        logprobs, asked = self.logprobs(head, hidden, shares, ids), targets >= 0
        own = logprobs.gather(2, targets.clamp(min=0)[..., None])
        nats = -own[..., 0]
        if smoothing is None:
            likelier = (logprobs > own).sum(-1)
            return torch.stack([nats * asked, (likelier * asked).to(nats.dtype)], -1)
        if smoothing:
            nats = torch.lerp(nats, -logprobs.mean(-1), smoothing)
        return nats * asked


def _rows(batch: int, values: int) -> Iterator[slice]:
    size = max(1, CHUNK_VALUES // max(1, values))
    return (slice(start, min(start + size, batch)) for start in range(0, max(batch, 1), size))
