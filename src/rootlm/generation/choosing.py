"""The choice of one token per row: the likeliest, a draw, or an offered token that a draw lets stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rootlm.generation.transforms import History, Transform

_ONE = 1 - 2**-40


class Drawing(Protocol):
    """A row that has random numbers of its own."""

    @property
    def draw(self) -> Callable[[], float]:
        """Return the next number, at least 0 and below 1."""
        ...


@dataclass(frozen=True, eq=False)
class Offer:
    """A token for each row, (rows,), and what it was drawn from, (rows, vocabulary); zeros where none is offered."""

    tokens: Tensor
    shares: Tensor


def choose(
    logits: Tensor,
    transforms: Sequence[Transform],
    history: History,
    rows: Sequence[Drawing],
    greedy: bool,
    *,
    offer: Offer | None = None,
) -> Tensor:
    """Return one token per row, (rows,): the likeliest, or drawn with each row's own random numbers."""
    if greedy:
        return transformed(logits, transforms, history).argmax(-1)
    shares = shares_of(logits, transforms, history)
    chosen = drawn(shares, rows) if offer is None else _judged(shares, offer, rows)
    return chosen.to(history.device)


def check_numbers(shares: Tensor) -> Tensor:
    """Return shares or their logarithms (…, vocabulary); raises ValueError where weights were no numbers.

    One logit that is none makes none of all shares of its row, so that one of them tells.
    """
    if bool(shares[..., 0].isnan().any()):
        raise ValueError(
            "the model's logits are no numbers, so its weights are broken; copy or train them again"
        )
    return shares


def transformed(logits: Tensor, transforms: Sequence[Transform], history: History) -> Tensor:
    """Return the logits that the choice is made by."""
    for transform in transforms:
        logits = transform(logits, history)
    return logits


def shares_of(logits: Tensor, transforms: Sequence[Transform], history: History) -> Tensor:
    """Return the distribution that tokens are drawn from, (rows, vocabulary)."""
    logits = transformed(logits, transforms, history)
    if logits.device.type == "mps":
        logits = logits.cpu()  # which has no float64
    return logits.softmax(-1)


def drawn(shares: Tensor, rows: Sequence[Drawing]) -> Tensor:
    """Return a token for each row, drawn in proportion to its shares, which need not sum to 1."""
    cumulative = shares.cumsum(-1, dtype=torch.float64)
    # Just below 1, so that rounding never reaches past the last token that may be said.
    draws = [[row.draw() * _ONE] for row in rows]
    points = torch.tensor(draws, dtype=torch.float64, device=shares.device) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, points, right=True)[:, 0]


def _judged(shares: Tensor, offer: Offer, rows: Sequence[Drawing]) -> Tensor:
    """Let an offered token stand with probability p / q, else draw from what p has above q.

    What is said is then distributed as p (Leviathan et al. 2023, Chen et al. 2023).
    """
    chosen = offer.tokens.to(shares.device, copy=True)
    column = chosen[:, None]
    wanted, offered = (table.gather(1, column)[:, 0].tolist() for table in (shares, offer.shares))
    refused = [
        index
        for index, (row, p, q) in enumerate(zip(rows, wanted, offered, strict=True))
        if not (q > 0 and row.draw() * q < p)
    ]
    if refused:
        own = shares[refused]
        rest = (own - offer.shares[refused]).clamp(min=0)
        # Two equal distributions leave nothing but what rounding refused.
        rest = torch.where(rest.sum(-1, keepdim=True) > 0, rest, own)
        chosen[refused] = drawn(rest, [rows[index] for index in refused])
    return chosen
