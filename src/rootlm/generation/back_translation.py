"""Answers weighed by how well they lead back to their source, for a model that writes in both directions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rootlm.generation.rows import Row
from rootlm.generation.sampling import Sampling
from rootlm.models.interface import Source, SourceModel, Targets

_ROWS_AT_ONCE = 64


@torch.inference_mode()
def reordered(
    model: SourceModel,
    sources: Sequence[Sequence[int]],
    found: Sequence[Sequence[Row]],
    sampling: Sampling,
    marks: tuple[int, int],
) -> list[list[Row]]:
    """Return the `n` best of the texts found for each source, by (ln p(y | x) + w ln p(x | y)) ÷ |y| ** length_penalty.

    w is `reverse_weight`, and the model says both of the source x and the text y (Yee et al. 2019). A source is its
    ids with the end mark; `marks` are the ids that begin and end a text. A text without a token stands last.
    """
    begin, end = marks
    pairs = [
        (number, row, [token for token in row.tokens if token != end])
        for number, rows in enumerate(found)
        for row in rows
    ]
    said = [pair for pair in pairs if pair[2]]
    # A text that fills the context leaves no place for its end mark.
    most = None if model.context is None else model.context - 1
    read = [[*ids[:most], end] for _, _, ids in said]
    back = _logprobs(model, read, [sources[number] for number, _, _ in said], begin)
    ranked: list[list[tuple[float, Row]]] = [[] for _ in found]
    for (number, row, _), cost in zip(said, back.tolist(), strict=True):
        total = sum(row.logprobs) + sampling.reverse_weight * cost
        ranked[number].append((total / len(row.tokens) ** sampling.length_penalty, row))
    for number, row, ids in pairs:
        if not ids:
            ranked[number].append((float("-inf"), row))
    return [[row for _, row in sorted(rows, key=lambda one: -one[0])][: sampling.n] for rows in ranked]


def _logprobs(
    model: SourceModel, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], begin: int
) -> Tensor:
    """Return ln p of each target after its source, both with their end marks, (rows,)."""
    order = sorted(range(len(sources)), key=lambda row: (len(sources[row]), len(targets[row])))
    found = torch.zeros(len(sources))
    for first in range(0, len(order), _ROWS_AT_ONCE):
        chosen = order[first : first + _ROWS_AT_ONCE]
        read = [torch.tensor(sources[row], device=model.device) for row in chosen]
        asked = [torch.tensor(targets[row], device=model.device) for row in chosen]
        tokens = [torch.cat([ids.new_tensor([begin]), ids[:-1]]) for ids in asked]
        source = Source(
            pad_sequence(read, batch_first=True),
            torch.tensor([len(ids) for ids in read], device=model.device),
        )
        ask = Targets(pad_sequence(asked, batch_first=True, padding_value=-1))
        nats = model(pad_sequence(tokens, batch_first=True), source=source, ask=ask).values
        found[chosen] = -nats.sum(1).float().cpu()
    return found
