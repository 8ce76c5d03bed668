"""Dropout whose draws are cheap on a CPU, where torch's own takes longer than the matrix products around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 2**16


class Dropout(nn.Dropout):
    """x ⊙ m / (1 − p), with each m one with chance 1 − p and else zero (Srivastava et al. 2014).

    One drawn word of 64 bits decides for four values, so p is rounded to 1/65,536.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gave it
        """Return the values that are kept, made larger, and zeros; outside of training what was given."""
        plain = input.device.type == "cpu" and not torch.compiler.is_compiling()
        dropped = round(self.p * _LEVELS)
        if not self.training or not plain or not 0 < dropped < _LEVELS:
            return F.dropout(input, self.p, self.training)
        words = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        draws = words.view(torch.int16)[: input.numel()].view(input.shape)
        kept = (draws >= dropped - _LEVELS // 2).to(input.dtype)
        return input * kept.mul_(_LEVELS / (_LEVELS - dropped))


def dropout(share: float) -> nn.Module:
    """Return dropout of a share of values, or a part that does nothing for a share of 0."""
    return Dropout(share) if share else nn.Identity()
