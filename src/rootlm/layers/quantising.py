"""A network's matrices put into eight or four bits, for reading only."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from rootlm.layers.linear import Linear
from rootlm.layers.mixture import Mixture
from rootlm.layers.weight_blocks import BLOCK, Bits


@dataclass(frozen=True)
class Quantisation:
    """What became of a network's weights."""

    bits: Bits
    matrices: int
    """How many matrices are kept in fewer bits."""
    before: int
    """Bytes of these matrices as they were."""
    after: int
    """Bytes of these matrices now."""


def quantise(network: nn.Module, bits: Bits) -> Quantisation:
    """Round the matrix of every `Linear` to blocks of 32 numbers with a common scale, in place.

    Tables of embeddings, norms, biases and what chooses among experts stay as they are; so do matrices whose rows are
    no whole blocks. The matrix that makes logits decides most: where others have four bits it has eight. Raises
    ValueError where nothing is left to round.
    """
    exact = {id(part.router) for part in network.modules() if isinstance(part, Mixture)}
    chosen = [
        (name, part)
        for name, part in network.named_modules()
        if isinstance(part, Linear) and id(part) not in exact and part.in_features % BLOCK == 0
    ]
    if not chosen:
        raise ValueError(
            f"no matrix has rows of whole blocks of {BLOCK} numbers, so none can be kept in {bits}; leave weights=… out"
        )
    before = after = 0
    for name, part in chosen:
        before += part.weight.nbytes
        after += part.quantise("int8" if name.rpartition(".")[2] == "head" else bits)
    return Quantisation(bits, len(chosen), before, after)
