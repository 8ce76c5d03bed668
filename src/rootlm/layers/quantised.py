"""Matrices kept in eight or four bits: a half to a quarter of bfloat16's memory, and of the time to read it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rootlm.layers import few_vectors, teams
from rootlm.layers.weight_blocks import BLOCK, FORMS, Bits, Form

_AT_ONCE = 1 << 22
_ROWS_AT_ONCE = 1 << 19
"""Numbers of a matrix that are written out at once: they stay in the caches until they were read."""


class Quantised(nn.Module):
    """The matrix (rows, width) of a linear map, in blocks of 32 numbers with a common scale.

    A few vectors are multiplied with the blocks as they lie. For more, some rows at a time are written out, which
    then lie in the caches, and torch makes the product.
    """

    most_vectors = 16
    """Vectors beyond which writing the rows out pays."""

    def __init__(self, weight: Tensor, bits: Bits) -> None:
        super().__init__()
        self.bits, self.width = bits, weight.shape[1]
        self.register_buffer("blocks", _rounded(weight.detach(), FORMS[bits]), persistent=False)

    blocks: Tensor
    """(rows, bytes of a row), uint8."""

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Return W x + b for x (…, width), in its type."""
        shift = None if bias is None else bias.to(x.dtype)
        learning = torch.is_grad_enabled() and x.requires_grad
        if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.bfloat16) or learning:
            return F.linear(x, self.matrix(x.dtype), shift)
        given = x.reshape(-1, self.width)
        if len(given) <= self.most_vectors:
            product = few_vectors.multiplied(given, self.blocks, self.bits)
        else:
            product = self._from_rows(given)
        product = product.view(*x.shape[:-1], -1)
        return product if shift is None else product + shift

    def matrix(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the matrix (rows, width) written out, by torch alone."""
        form = FORMS[self.bits]
        each = self.blocks.view(-1, form.width)
        steps, held = each[:, :2].contiguous().view(torch.float16).float(), each[:, 2:].contiguous()
        whole = held.view(torch.int8).float() if self.bits == "int8" else _halves(held).float() - 8
        return (steps * whole).view(len(self.blocks), self.width).to(dtype)

    def _from_rows(self, x: Tensor) -> Tensor:
        kernel, kind, like = (
            few_vectors.compiled_loop("write_part"),
            *map(few_vectors.empty, (self.bits, x.dtype)),
        )
        rows, line = self.blocks.shape
        made, step = x.new_empty(len(x), rows), -(-_ROWS_AT_ONCE // self.width)
        room = x.new_empty(min(step, rows), self.width)
        parts, size = few_vectors.team_for(self.blocks), self.width * room.element_size()
        for start in range(0, rows, step):
            end = min(start + step, rows)
            share = -(-(end - start) // parts)

            def write(part: int, start: int = start, end: int = end, share: int = share) -> None:
                first, last = (min(start + part * share, end) for part in (part, part + 1))
                address, to = self.blocks.data_ptr() + first * line, room.data_ptr() + (first - start) * size
                kernel(kind, like, address, to, (last - first) * (self.width // BLOCK))

            teams.together(write, parts)
            made[:, start:end] = F.linear(x, room[: end - start])
        return made

    def extra_repr(self) -> str:
        """Say what is kept."""
        return f"{self.bits}, {len(self.blocks)} × {self.width}"


def _rounded(weight: Tensor, form: Form) -> Tensor:
    """Return the blocks of a matrix, some rows at a time."""
    rows, width = weight.shape
    made = torch.empty(rows, form.line(width), dtype=torch.uint8)
    step = max(1, _AT_ONCE // width)
    for start in range(0, rows, step):
        part = weight[start : start + step].to("cpu", torch.float32)
        if not bool(torch.isfinite(part).all()):
            raise ValueError("the weights hold a number that is not finite; the network is broken")
        blocks = form.rounded(part.reshape(-1, BLOCK).numpy())
        made[start : start + step] = torch.from_numpy(blocks).view(-1, made.shape[1])
    return made.to(weight.device)


def _halves(held: Tensor) -> Tensor:
    """Return the lower halves of all bytes of a block, then the upper ones."""
    return torch.cat([held & 15, held >> 4], -1)
