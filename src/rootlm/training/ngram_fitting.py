"""Fit an n-gram model: count, estimate, leave out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rootlm.models.ngram_settings import NgramConfig
from rootlm.models.ngram_tables import Tables
from rootlm.training.ngram_counts import Counted, count
from rootlm.training.ngram_discounts import Say
from rootlm.training.ngram_estimation import estimate
from rootlm.training.ngram_pruning import prune

if TYPE_CHECKING:
    from rootlm.models.interface import Network

Ints = NDArray[np.int64]
Pieces = Iterable[tuple[NDArray[np.integer], Ints]]
"""Documents end to end, each with its end mark, and where each begins."""


def fit(model: Network, pieces: Pieces, marks: tuple[int, int], say: Say = warnings.warn) -> None:
    """Count documents and make the model's tables from them; `marks` are the ids of begin and end.

    Raises ValueError when no document is as long as the order. What the counts leave undefined is said.
    """
    from rootlm.models.ngram import Ngram

    assert isinstance(model, Ngram)
    model.take(learn(model.config, pieces, model.vocab_size, marks, say))


def learn(
    config: NgramConfig, pieces: Pieces, vocab_size: int, marks: tuple[int, int], say: Say = warnings.warn
) -> Tables:
    """Return the tables of a model of documents, as `fit` says."""
    bos_id, eos_id = marks
    counted = count(pieces, config.order, vocab_size, bos_id, config.memory_mb)
    _check_order(counted)
    tables = estimate(counted, config.smoothing, say)
    return prune(tables, counted.counts, config.pruning, eos_id)


def _check_order(counted: Counted) -> None:
    longest = int(np.count_nonzero(counted.sizes))
    if not counted.counts.any():
        raise ValueError("there is no document to count; give some text")
    if longest < counted.order:
        raise ValueError(
            f"model.order={counted.order}: no document has so many tokens, its begin and end counted; "
            f"set model.order={longest} or less"
        )
