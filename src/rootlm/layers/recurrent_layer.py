"""A recurrent layer: readable cells, and the fastest kernel at hand that computes the same."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rootlm.layers.cells import CELLS, CellName, Memory, run
from rootlm.layers.low_rank import LowRank
from rootlm.layers.lstm_scan import lstm_scan
from rootlm.layers.steps import Steps

_FUSED: dict[CellName, Callable[..., tuple[Tensor, ...]]] = {
    "rnn": torch.rnn_tanh,
    "gru": torch.gru,
    "lstm": torch.lstm,
}


class Recurrent(nn.Module):
    """One layer of `cell`s, `width` → `hidden`; two bias vectors, as torch has them.

    `weight_dropout` takes connections U out for a whole batch (Merity et al. 2018).
    """

    def __init__(self, cell: CellName, width: int, hidden: int, weight_dropout: float = 0.0) -> None:
        super().__init__()
        self.cell, self.hidden, self.weight_dropout = cell, hidden, weight_dropout
        rows = CELLS[cell].gates * hidden
        self.weight_input = nn.Parameter(torch.empty(rows, width))
        self.weight_recurrent = nn.Parameter(torch.empty(rows, hidden))
        self.bias_input = nn.Parameter(torch.empty(rows))
        self.bias_recurrent = nn.Parameter(torch.empty(rows))
        self.adapter_input: LowRank | None = None
        self.adapter_recurrent: LowRank | None = None
        self.reset()

    def reset(self) -> None:
        """Draw fresh weights: uniform within 1/√hidden; an LSTM begins by keeping what it holds (forget bias 1)."""
        with torch.no_grad():
            for weight in (self.weight_input, self.weight_recurrent):
                weight.uniform_(-(self.hidden**-0.5), self.hidden**-0.5)
            self.bias_input.zero_()
            self.bias_recurrent.zero_()
            if self.cell == "lstm":
                self.bias_input[self.hidden : 2 * self.hidden] = 1.0

    def blank(self, rows: int) -> Memory:
        """Return the memory of rows that have read nothing; float32."""
        device, count = self.weight_recurrent.device, CELLS[self.cell].memories
        return tuple(torch.zeros(rows, self.hidden, device=device) for _ in range(count))

    def forward(self, x: Tensor, steps: Steps, memory: Memory) -> tuple[Tensor, Memory]:
        """Read `x` (places, width) after `memory`; returns every h (places, hidden) and the memory after each row."""
        entering, recurrent = self._matrices()
        recurrent = F.dropout(recurrent, self.weight_dropout, self.training)
        if self.cell == "lstm" and _wants_scan(x):
            bias = self.bias_input + self.bias_recurrent
            return lstm_scan(x, steps.counts, (memory[0], memory[1]), (entering, recurrent), bias)
        weights = [w.to(x.dtype) for w in (entering, recurrent, self.bias_input, self.bias_recurrent)]
        held = tuple(part.to(x.dtype) for part in memory)
        if len(steps.counts) == 1:
            inputs = F.linear(x, weights[0], weights[2])
            held = CELLS[self.cell].step(inputs, held, weights[1], weights[3])
            hidden = held[0]
        else:
            hidden, held = self._fused(x, steps, held, weights)
        return hidden, tuple(part.float() for part in held)

    def plainly(self, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Read `x` (time, rows, width) with the readable cell, step by step: what every kernel must equal."""
        entering, recurrent = self._matrices()
        inputs = F.linear(x, entering, self.bias_input)
        return run(CELLS[self.cell], inputs, memory, recurrent, self.bias_recurrent)

    def _matrices(self) -> tuple[Tensor, Tensor]:
        """Return W and U, as adapters have them."""
        pairs = (self.weight_input, self.adapter_input), (self.weight_recurrent, self.adapter_recurrent)
        entering, recurrent = (w if adapter is None else adapter.matrix(w) for w, adapter in pairs)
        return entering, recurrent

    def _fused(self, x: Tensor, steps: Steps, held: Memory, weights: list[Tensor]) -> tuple[Tensor, Memory]:
        kernel = _FUSED[self.cell]
        stacked = tuple(part[None] for part in held)
        given = stacked if self.cell == "lstm" else stacked[0]
        if steps.are_equal:
            shaped = x.view(len(steps.counts), steps.rows, x.shape[1])
            out = kernel(shaped, given, weights, True, 1, 0.0, self.training, False, False)
        else:
            out = kernel(x, torch.tensor(steps.counts), given, weights, True, 1, 0.0, self.training, False)
        hidden = out[0].reshape(len(x), self.hidden)
        return hidden, tuple(part[0] for part in out[1:])


def _wants_scan(x: Tensor) -> bool:
    """Tell whether our own loop is the fastest: training in bfloat16 on a CPU, where torch's backward pass is slow."""
    return x.device.type == "cpu" and x.dtype == torch.bfloat16 and torch.is_grad_enabled()
