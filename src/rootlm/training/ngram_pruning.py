"""Leave n-grams out of a finished model; what they held goes to the lower orders, and sums stay at one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.models.ngram_settings import PruningConfig
from rootlm.models.ngram_tables import Tables

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]
Places = NDArray[np.int32]
Flags = NDArray[np.bool_]


def prune(tables: Tables, counts: NDArray[np.integer], pruning: PruningConfig, eos_id: int) -> Tables:
    """Return the tables without what `pruning` leaves out; `counts` says how often each node's n-gram occurs.

    An n-gram stays while a longer one that stays begins or ends with it. `eos_id` stands in for the begin mark's
    own probability. Raises ValueError for tables that do not back off.
    """
    if not pruning.counts and not pruning.entropy:
        return tables
    if len(tables.floors):
        raise ValueError("model.pruning: additive smoothing has no lower order to give to; set pruning={}")
    above, parents = tables.contexts(), _parents(tables)
    keep = np.ones(len(tables.words), bool)
    for order in range(tables.order, 1, -1):
        span = tables.span(order)
        wanted = np.ones(span.stop - span.start, bool)
        if pruning.counts:
            wanted &= counts[span] > pruning.counts[min(order - 2, len(pruning.counts) - 1)]
        if pruning.entropy:
            wanted &= _entropies(tables, span, above, parents, eos_id) >= np.log1p(pruning.entropy)
        keep[span] = wanted
    for order in range(tables.order, 2, -1):
        span = tables.span(order)
        kept = np.flatnonzero(keep[span]) + span.start
        keep[parents[kept]] = True
        keep[above[kept][above[kept] >= 0]] = True
    return _without(tables, keep, above, parents)


def _parents(tables: Tables) -> Ints:
    """Return for each node the node without its first word; words have none, −1."""
    parents = np.full(len(tables.words), -1, np.int64)
    parents[tables.sizes[0] :] = np.repeat(np.arange(tables.below), np.diff(tables.starts))
    return parents


def _entropies(tables: Tables, span: slice, above: Places, parents: Ints, eos_id: int) -> Reals:
    """Return by how many nats per token the model gets worse without each n-gram (Stolcke 1998, equation 5).

    D = −p(h) · (p · (ln p′ + ln α′ − ln p) + (ln α′ − ln α) · (1 − Σ p)), where p′ is the lower order's p.
    """
    logs = tables.logps[span].astype(np.float64)
    lower = tables.logps[parents[span]].astype(np.float64)
    context = np.maximum(above[span], 0)
    p, q = np.exp(logs), np.exp(lower)
    left, left_lower = _rest(p, context, tables), _rest(q, context, tables)
    before = np.exp(_histories(tables, above, eos_id))[context]
    with np.errstate(divide="ignore", invalid="ignore"):
        wider = np.log((left[context] + p) / (left_lower[context] + q))
        change = wider - np.log(left[context] / left_lower[context])
        mass = np.where(left[context] > 0, change * left[context], 0.0)
        loss = -before * (p * (lower + wider - logs) + mass)
    return np.nan_to_num(loss, nan=np.inf)


def _rest(p: Reals, context: Ints, tables: Tables) -> Reals:
    """Return what each context leaves to the words that were not seen after it."""
    return np.maximum(1 - np.bincount(context, p, tables.below), 0.0)


def _histories(tables: Tables, above: Places, eos_id: int) -> Reals:
    """Return ln p of reading each n-gram below the top order, word by word; a begin mark is as likely as an end."""
    logs = tables.logps[: tables.below].astype(np.float64)
    first = tables.span(1)
    logs[first] = np.where(np.isneginf(logs[first]), logs[eos_id], logs[first])
    for order in range(2, tables.order):
        span = tables.span(order)
        logs[span] += np.where(above[span] >= 0, logs[np.maximum(above[span], 0)], 0.0)
    return logs


def _without(tables: Tables, keep: Flags, above: Places, parents: Ints) -> Tables:
    """Drop nodes, and weigh the back-offs anew: α = (1 − Σ p) ÷ (1 − Σ p′) over what is kept."""
    kept = np.flatnonzero(keep)
    longer = kept[kept >= tables.sizes[0]]
    p, q = (np.exp(tables.logps[nodes].astype(np.float64)) for nodes in (longer, parents[longer]))
    context = above[longer]
    left, left_lower = _rest(p, context, tables), _rest(q, context, tables)
    with np.errstate(divide="ignore", invalid="ignore"):
        backoffs = np.log(left / left_lower)
    # Where everything was seen nothing is left to give, whatever rounding says.
    backoffs = np.where(left_lower > 1e-9, backoffs, 0.0)
    before = np.concatenate([[0], np.cumsum(keep)])
    sizes = np.asarray([keep[tables.span(order)].sum() for order in range(1, tables.order + 1)], np.int64)
    below = kept[: int(sizes[:-1].sum())]
    starts = before[np.append(tables.starts[below], len(keep))]
    return Tables(
        sizes,
        tables.words[kept],
        starts.astype(np.int32),
        tables.logps[kept],
        backoffs[below].astype(np.float32),
        tables.floors,
    )
