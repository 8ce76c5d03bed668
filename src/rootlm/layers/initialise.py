"""Fresh weights: the stream starts at unit scale and every block starts as the identity."""

from __future__ import annotations

import torch
from torch import nn

from rootlm.layers.linear import Embedding, Linear


def initialise(network: nn.Module, depth: int) -> None:
    """Draw every matrix of a network from torch's generator.

    Matrices are normal with variance 1 / fan-in, so that a normalised stream keeps its scale. Those that write
    into the stream (`out`, `down`) are zero, so that each block begins as the identity (Zhang et al. 2019). The
    tables are small: with a tied head the first loss is then ln(vocabulary).
    """
    with torch.no_grad():
        for name, part in network.named_modules():
            if isinstance(part, Linear):
                if name.rsplit(".", 1)[-1] in ("out", "down"):
                    part.weight.zero_()
                else:
                    nn.init.normal_(part.weight, std=part.in_features**-0.5)
                if part.bias is not None:
                    part.bias.zero_()
        for part in network.modules():
            if isinstance(part, Embedding):
                nn.init.normal_(part.weight, std=0.02)
