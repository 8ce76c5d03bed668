"""Texts as vectors, and how well their nearness agrees with what people said of pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from rootlm.evaluation.intervals import Floats, Interval
from rootlm.generation.decoding import evaluating
from rootlm.layers.pooling import Pooling, pool
from rootlm.models.interface import Encoder
from rootlm.tokenizers.tokenizer import Tokenizer

_BATCH_TOKENS = 1 << 14
_RESAMPLES = 1000


class Rated(NamedTuple):
    """Two texts and how alike people found them; only the order of the scores counts."""

    first: str
    second: str
    score: float


@torch.inference_mode()
def embed(model: Encoder, tokenizer: Tokenizer, texts: Sequence[str], how: Pooling = "mean") -> Tensor:
    """Return a vector of length 1 for each text, (texts, hidden), float32 on the CPU.

    A text longer than the context is read in parts, whose vectors are averaged by their lengths.
    """
    room = (model.context or 1 << 30) - 1
    parts: list[list[int]] = []
    owners: list[int] = []
    for number, ids in enumerate(tokenizer.encode_batch(list(texts))):
        for begin in range(0, max(len(ids), 1), room):
            parts.append([tokenizer.bos_id, *ids[begin : begin + room]])
            owners.append(number)
    sums = torch.zeros(len(texts), model.hidden_size)
    for chosen, hidden, lengths in _read(model, parts):
        vectors = pool(hidden, lengths, how) * lengths[:, None]
        sums.index_add_(0, torch.tensor([owners[part] for part in chosen]), vectors.float().cpu())
    return torch.nn.functional.normalize(sums, dim=-1)


@torch.inference_mode()
def tell(model: Encoder, tokenizer: Tokenizer, texts: Sequence[str], head: str) -> Tensor:
    """Return what a head says of each text, (texts, outputs); what is longer than the context is cut off."""
    rows = [[tokenizer.bos_id, *ids][: model.context] for ids in tokenizer.encode_batch(list(texts))]
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


def agreement(found: ArrayLike, said: ArrayLike, seed: int = 0) -> Interval:
    """Return Spearman's rank correlation of two lists of scores, with the bootstrap interval over pairs.

    >>> agreement([0.1, 0.2, 0.4, 0.9], [1, 2, 3, 4]).value
    1.0
    """
    first, second = np.asarray(found, np.float64), np.asarray(said, np.float64)
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        raise ValueError("there is no order to agree on: give at least two pairs with different scores")
    value = _spearman(first, second)
    generator = np.random.default_rng(seed)
    drawn = [
        _spearman(first[rows], second[rows])
        for rows in generator.integers(0, len(first), (_RESAMPLES, len(first)))
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def _spearman(first: Floats, second: Floats) -> float:
    ranks = _ranks(first), _ranks(second)
    if min(np.ptp(one) for one in ranks) == 0:
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1].round(12))


def _ranks(values: Floats) -> NDArray[np.float64]:
    """Return ranks from 0 on; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    means: NDArray[np.float64] = (ends - (counts + 1) / 2)[inverse]
    return means
