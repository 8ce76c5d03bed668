"""Texts as vectors, what heads say of them, and pairs of texts that people have rated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson
import torch
from torch import Tensor

from rootlm.generation.decoding import evaluating
from rootlm.layers.pooling import Pooling, pool
from rootlm.models.interface import Encoder
from rootlm.tokenizers.tokenizer import Tokenizer

_BATCH_TOKENS = 1 << 14


class Rated(NamedTuple):
    """Two texts and how alike people found them; only the order of the scores counts."""

    first: str
    second: str
    score: float


@torch.inference_mode()
def embed(
    model: Encoder,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    how: Pooling = "mean",
    *,
    longest: int | None = None,
    normalised: bool = True,
) -> Tensor:
    """Return a vector for each text, (texts, hidden), float32 on the CPU; of length 1 where they are `normalised`.

    A text longer than the context is read in parts, whose vectors are averaged by their lengths; with a `longest`
    number of tokens, marks among them, what goes beyond is not read at all.
    """
    marks = len(tokenizer.framed([]))
    room = (model.context or 1 << 30) - marks
    most = None if longest is None else max(longest - marks, 1)
    parts: list[list[int]] = []
    owners: list[int] = []
    for number, ids in enumerate(tokenizer.encode_batch(list(texts))):
        for begin in range(0, max(len(ids[:most]), 1), room):
            parts.append(tokenizer.framed(ids[:most][begin : begin + room]))
            owners.append(number)
    sums, counts = torch.zeros(len(texts), model.hidden_size), torch.zeros(len(texts))
    for chosen, hidden, lengths in _read(model, parts):
        vectors = pool(hidden, lengths, how).float() * lengths[:, None]
        rows = torch.tensor([owners[part] for part in chosen])
        sums.index_add_(0, rows, vectors.cpu())
        counts.index_add_(0, rows, lengths.float().cpu())
    return torch.nn.functional.normalize(sums, dim=-1) if normalised else sums / counts[:, None]


@torch.inference_mode()
def tell(model: Encoder, tokenizer: Tokenizer, texts: Sequence[str], head: str) -> Tensor:
    """Return what a head says of each text, (texts, outputs); what is longer than the context is cut off."""
    room = (model.context or 1 << 30) - len(tokenizer.framed([]))
    rows = [tokenizer.framed(ids[:room]) for ids in tokenizer.encode_batch(list(texts))]
    said = [(chosen, model.tell(head, hidden, lengths)) for chosen, hidden, lengths in _read(model, rows)]
    order = torch.tensor([row for chosen, _ in said for row in chosen]).argsort()
    return torch.cat([values for _, values in said]).float().cpu()[order]


def _read(model: Encoder, rows: Sequence[list[int]]) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Yield the numbers of some rows, their stream and their lengths, until all were read; longest first."""
    device = next(model.parameters()).device
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    with evaluating(model):
        while order:
            longest = len(rows[order[-1]])
            count = max(1, _BATCH_TOKENS // longest)
            chosen, order = order[-count:], order[:-count]
            lengths = torch.tensor([len(rows[row]) for row in chosen], device=device)
            padded = [[*rows[row], *[0] * (longest - len(rows[row]))] for row in chosen]
            yield chosen, model(torch.tensor(padded, device=device), lengths), lengths


def read_rated(file: Path) -> list[Rated]:
    """Read pairs, one JSON object a line with sentence1, sentence2 and score; raises ValueError naming the line."""
    found: list[Rated] = []
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            held = orjson.loads(line)
            found.append(Rated(str(held["sentence1"]), str(held["sentence2"]), float(held["score"])))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file}:{number}: is no rated pair ({error}); write "
                '{"sentence1": …, "sentence2": …, "score": number}'
            ) from error
    return found
