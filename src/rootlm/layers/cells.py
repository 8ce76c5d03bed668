"""Recurrent cells, one step at a time: what a row remembers and the token it reads give what it remembers next.

x is what a layer reads, h the hidden vector it gives and keeps, c the cell of an LSTM; σ is the logistic function and
⊙ the product of places. W x + b is made for all steps at once and handed in as `inputs`; U and d are the recurrent
weight and bias. The gates' rows stand one below the other in W, U, b and d, in the order that each cell names, which is
torch's, so that torch's fused kernels read the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Memory = tuple[Tensor, ...]
"""What a layer remembers: h, and c for an LSTM; each (rows, hidden)."""
CellName = Literal["rnn", "gru", "lstm"]


def rnn_step(inputs: Tensor, memory: Memory, weight: Tensor, bias: Tensor) -> Memory:
    """h' = tanh(W x + b + U h + d) (Elman 1990)."""
    (hidden,) = memory
    return (torch.tanh(inputs + F.linear(hidden, weight, bias)),)


def gru_step(inputs: Tensor, memory: Memory, weight: Tensor, bias: Tensor) -> Memory:
    """Gates r, z, n (Cho et al. 2014, with the reset after the product).

    r = σ(Wᵣx + bᵣ + Uᵣh + dᵣ); z = σ(W_z x + b_z + U_z h + d_z); n = tanh(Wₙx + bₙ + r ⊙ (Uₙh + dₙ));
    h' = (1 − z) ⊙ n + z ⊙ h.
    """
    (hidden,) = memory
    reset, update, new = inputs.chunk(3, -1)
    from_reset, from_update, from_new = F.linear(hidden, weight, bias).chunk(3, -1)
    reset, update = torch.sigmoid(reset + from_reset), torch.sigmoid(update + from_update)
    new = torch.tanh(new + reset * from_new)
    return (new + update * (hidden - new),)


def lstm_step(inputs: Tensor, memory: Memory, weight: Tensor, bias: Tensor) -> Memory:
    """Gates i, f, g, o (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    i, f, o = σ(W x + b + U h + d), each with its own rows; g = tanh(W_g x + b_g + U_g h + d_g);
    c' = f ⊙ c + i ⊙ g; h' = o ⊙ tanh(c').
    """
    hidden, cell = memory
    enter, forget, new, out = (inputs + F.linear(hidden, weight, bias)).chunk(4, -1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(cell), cell


@dataclass(frozen=True)
class Cell:
    """A kind of cell: its step, how many gates stack in its weights, how many vectors it remembers."""

    step: Callable[[Tensor, Memory, Tensor, Tensor], Memory]
    gates: int
    memories: int


CELLS: dict[CellName, Cell] = {
    "rnn": Cell(rnn_step, 1, 1),
    "gru": Cell(gru_step, 3, 1),
    "lstm": Cell(lstm_step, 4, 2),
}


def run(cell: Cell, inputs: Tensor, memory: Memory, weight: Tensor, bias: Tensor) -> tuple[Tensor, Memory]:
    """Take a step for each of `inputs` (time, rows, gates · hidden); gives every h and the end."""
    hidden = []
    for one in inputs:
        memory = cell.step(one, memory, weight, bias)
        hidden.append(memory[0])
    return torch.stack(hidden), memory
