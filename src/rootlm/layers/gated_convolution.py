"""A causal convolution with a gate: it sees the last few columns, and remembers them (Dauphin et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rootlm.layers.linear import Linear


class GatedConvolution(nn.Module):
    """h = (X ∗ W + b) ⊙ σ(X ∗ V + c), X being a column and the `kernel` − 1 before it; W and V stacked in one."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.filters = Linear(kernel * width, 2 * width, bias=True, parts=(width, width))

    def forward(self, x: Tensor, sizes: Tensor | None, held: Tensor) -> tuple[Tensor, Tensor]:
        """Read `x` (rows, time, width) after the columns `held` (rows, kernel − 1, width).

        Returns as many columns, and those to hold: the last of each row's first `sizes`, of all where None.
        """
        rows, time, width = x.shape
        seen = torch.cat([held.to(x.dtype), x], 1)
        windows = seen.unfold(1, self.kernel, 1).transpose(2, 3)  # (rows, time, kernel, width)
        values, gates = self.filters(windows.reshape(rows, time, self.kernel * width)).chunk(2, -1)
        ends = torch.full((rows,), time, device=x.device) if sizes is None else sizes
        kept = ends[:, None] + torch.arange(self.kernel - 1, device=x.device)
        last = seen.gather(1, kept[:, :, None].expand(-1, -1, width))
        return values * torch.sigmoid(gates), last.float()
