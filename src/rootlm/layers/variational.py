"""Dropout that stays the same through time: of a row's places, and of words (Gal & Ghahramani 2016)."""

from __future__ import annotations

import torch
from torch import Tensor

from rootlm.layers.steps import Steps


def locked(x: Tensor, share: float, steps: Steps) -> Tensor:
    """Drop a `share` of each row's places of `x` (places, width), the same in all its steps; the others grow."""
    if not share:
        return x
    return x * _kept((steps.rows, x.shape[1]), share, x)[steps.row_of]


def without_words(x: Tensor, ids: Tensor, share: float, vocab_size: int) -> Tensor:
    """Drop a `share` of the words of a vocabulary from `x` (places, width), of `ids` (places,), wherever they stand."""
    return x * _kept((vocab_size, 1), share, x)[ids]


def _kept(shape: tuple[int, int], share: float, like: Tensor) -> Tensor:
    return (torch.rand(shape, device=like.device) >= share).to(like.dtype) / (1 - share)
