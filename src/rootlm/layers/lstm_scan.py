"""An LSTM over a ragged batch in bfloat16 on a CPU: two large products and small ones in between, backwards too.

The gradient follows from the equations of `lstm_step`. What belongs to one step waits for the step before; all
products that do not are made for every step at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def lstm_scan(
    x: Tensor,
    sizes: Sequence[int],
    memory: tuple[Tensor, Tensor],
    weights: tuple[Tensor, Tensor],
    bias: Tensor,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return every h (places, hidden) in the type of `x`, and h and c at the end of each row, float32.

    `x` (places, width) holds the steps one after the other, `sizes[t]` rows in step t, never more than in the step
    before. `memory` is h and c of the rows, `weights` W and U in torch's gate order, `bias` the sum of both biases.
    """
    hidden, last, cell = _Scan.apply(x, memory[0], memory[1], *weights, bias, list(sizes))  # type: ignore[no-untyped-call]
    return hidden, (last, cell)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 - autograd passes by position
        ctx: Any,
        x: Tensor,
        hidden: Tensor,
        cell: Tensor,
        weight_input: Tensor,
        weight_recurrent: Tensor,
        bias: Tensor,
        sizes: list[int],
    ) -> tuple[Tensor, Tensor, Tensor]:
        width, places = hidden.shape[1], len(x)
        inputs, recurrent = weight_input.to(x.dtype), weight_recurrent.to(x.dtype)
        gates = torch.addmm(bias.to(x.dtype), x, inputs.t())  # (places, 4 · hidden)
        before, outputs = x.new_empty(places, width), x.new_empty(places, width)
        cells, squashed = (torch.empty(places, width, device=x.device) for _ in range(2))
        h, c = hidden.to(x.dtype, copy=True), cell.float().clone()
        turned = recurrent.t()
        for place, rows in _steps(sizes):
            before[place], cells[place] = h[:rows], c[:rows]
            own = gates[place].addmm_(before[place], turned)
            own[:, : 2 * width].sigmoid_()
            own[:, 2 * width : 3 * width].tanh_()
            own[:, 3 * width :].sigmoid_()
            enter, forget, new, out = own.chunk(4, 1)
            held = c[:rows].mul_(forget).add_(enter * new)
            torch.tanh(held, out=squashed[place])
            torch.mul(squashed[place], out, out=outputs[place])
            h[:rows] = outputs[place]
        ctx.save_for_backward(x, gates, before, cells, squashed, inputs, recurrent)
        ctx.sizes = sizes
        return outputs, h.float(), c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, gates, before, cells, squashed, inputs, recurrent = ctx.saved_tensors
        given, dh, dc = upstream[0], upstream[1].to(x.dtype, copy=True), upstream[2].clone()
        width = before.shape[1]
        enter, forget, new, out = gates.chunk(4, 1)
        # What a change of c or of h makes of each gate, for all steps at once.
        from_cell = torch.stack(
            [
                enter * (1 - enter) * new,
                forget * (1 - forget) * cells.to(x.dtype),
                (1 - new * new) * enter,
            ],
            1,
        )  # (places, 3, hidden)
        from_hidden = out * (1 - out) * squashed.to(x.dtype)
        slope = out * (1 - squashed * squashed)
        gradient = torch.empty_like(gates)
        parts = gradient.view(len(x), 4, width)
        for place, rows in reversed(list(_steps(ctx.sizes))):
            own = given[place] + dh[:rows]
            torch.mul(own, from_hidden[place], out=parts[place, 3])
            changed = dc[:rows].addcmul_(own.float(), slope[place].float())
            torch.mul(changed.to(x.dtype)[:, None], from_cell[place], out=parts[place, :3])
            changed.mul_(forget[place])
            torch.mm(gradient[place], recurrent, out=dh[:rows])
        summed = gradient.sum(0, dtype=torch.float32)
        flat = gradient.t()
        return (
            gradient @ inputs,
            dh.float(),
            dc,
            (flat @ x).float(),
            (flat @ before).float(),
            summed,
            None,
        )


def _steps(sizes: Sequence[int]) -> Iterator[tuple[slice, int]]:
    start = 0
    for rows in sizes:
        yield slice(start, start + rows), rows
        start += rows
