"""Reading ragged rows of ids in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rootlm.models.interface import LanguageModel, Last, Prediction, State


def read(
    model: LanguageModel, prompts: Sequence[Sequence[int]], capacity: int, state: State | None = None
) -> tuple[Tensor, State]:
    """Read ragged prompts in one batch; returns the logits after each, (rows, vocabulary), and the state."""
    prediction = read_all(model, prompts, capacity, state)
    assert prediction.state is not None
    return prediction.values[:, -1], prediction.state


def read_all(
    model: LanguageModel, prompts: Sequence[Sequence[int]], capacity: int, state: State | None = None
) -> Prediction:
    """Read ragged prompts in one batch, after a state with a row for each or from the beginning."""
    tokens, lengths = padded(prompts, model.device)
    state = model.begin(len(prompts), capacity) if state is None else state
    prediction: Prediction = model(tokens, state, lengths=lengths, ask=Last())
    return prediction


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return ids (rows, longest), right-padded, and how many of each row are real; None when all are."""
    sizes = [len(row) for row in rows]
    longest = max(sizes)
    tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=device)
    return tokens, None if min(sizes) == longest else torch.tensor(sizes, device=device)
