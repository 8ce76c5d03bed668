"""A large matrix with a few vectors on a CPU: compiled products at memory's speed."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rootlm.layers import teams

if TYPE_CHECKING:
    from collections.abc import Callable

    from rootlm.layers.weight_blocks import Bits

MOST = 8
"""Vectors beyond which torch's products, which fill the processor's matrix units, are faster."""
KINDS: dict[torch.dtype | Bits, Any] = {
    torch.float32: np.float32,
    torch.bfloat16: np.uint16,
    "int8": np.int8,
    "int4": np.uint8,
}
"""How compiled code is told the type of the weights; int8 and int4 are blocks, as in `layers.weight_blocks`."""
_LARGE_BYTES = 1 << 20
"""Bytes of a matrix from which it pays to wake another thread."""
_SHARED_BYTES = 1 << 19
"""Bytes of a matrix from which a second thread pays."""


def pays(x: Tensor, weight: Tensor) -> bool:
    """Say whether `multiplied` gives x (…, width) times the weight's rows faster than torch does.

    It does in float32, which torch reads at half of memory's speed; bfloat16 it reads nearly as fast.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    return (
        weight.dtype == x.dtype == torch.float32
        and weight.nbytes >= _LARGE_BYTES
        and x.numel() <= MOST * weight.shape[1]
        and x.device.type == weight.device.type == "cpu"
        and type(weight) in (Tensor, nn.Parameter)
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
    )


def multiplied(x: Tensor, matrix: Tensor, kind: torch.dtype | Bits) -> Tensor:
    """Return x Wᵀ (vectors, rows), summed in float32, in the type of x (vectors, width).

    `matrix` is W as it lies in memory, a row after the other, of this kind.
    """
    kernel, like, made = compiled_loop("multiply_part"), empty(kind), x.new_empty(len(x), len(matrix))
    given, address, parts = x.float().contiguous().numpy(), matrix.data_ptr(), team_for(matrix)
    # Torch's own threads would still be waiting for more when ours are to begin, so they are not asked to convert.
    sums = np.empty(made.shape, np.float32)
    found = made.view(torch.uint16).numpy() if made.dtype == torch.bfloat16 else made.numpy()
    teams.together(lambda part: kernel(like, address, given, sums, found, (part, parts)), parts)
    return made


def team_for(matrix: Tensor) -> int:
    """Return how many threads are worth their meeting."""
    return teams.size() if matrix.nbytes > _SHARED_BYTES else 1


def empty(kind: torch.dtype | Bits) -> Any:
    """Return the empty array that tells compiled code a type of weights."""
    return np.empty(0, KINDS[kind])


@cache
def compiled_loop(name: str) -> Callable[..., None]:
    """Return a function of `layers.product_kernel`, compiled; imports numba."""
    from rootlm.core.compiled import compiled_with
    from rootlm.layers import product_kernel
    from rootlm.layers.vector_kernel import OPTIONS

    plain: Callable[..., None] = getattr(product_kernel, name)
    return compiled_with(plain, **OPTIONS)
