"""From counts to probabilities, order by order: every smoothing ends in tables that back off."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rootlm.core.shares import in_shares
from rootlm.models import smoothing as kinds
from rootlm.models.ngram_tables import Tables, contexts
from rootlm.models.smoothing import Smoothing
from rootlm.training import ngram_discounts
from rootlm.training.ngram_counts import Counted
from rootlm.training.ngram_discounts import Say
from rootlm.training.ngram_estimate_kernel import (
    add_counts,
    add_taken,
    add_to_contexts,
    back_off,
    interpolate,
    lower_values,
)

Ints = NDArray[np.int64]
Reals = NDArray[np.float64]
Counts = NDArray[np.uint32]
Places = NDArray[np.int32]

_INTERPOLATED = (
    kinds.JelinekMercer,
    kinds.WittenBell,
    kinds.AbsoluteDiscounting,
    kinds.KneserNey,
    kinds.ModifiedKneserNey,
)
_BUCKETS = 24
_MOST_WEIGHT = 1 - 1e-6
_ROUNDS = 25


def estimate(counted: Counted, smoothing: Smoothing, say: Say = warnings.warn) -> Tables:
    """Turn counts into the tables of a model; what the counts leave undefined is said and replaced."""
    below = int(counted.sizes[:-1].sum())
    logps = np.empty(len(counted.words), np.float32)
    backoffs = np.zeros(below, np.float32)
    floors = np.zeros(below if isinstance(smoothing, kinds.Additive) else 0, np.float32)
    former: Answer | None = None
    above = np.zeros(int(counted.sizes[0]), np.int32)
    for order in range(1, counted.order + 1):
        if order > 1:
            above = contexts(counted.sizes, counted.words, counted.starts, order, above)
        level = _level(counted, order, above, smoothing, former)
        with np.errstate(divide="ignore"):
            former = _solve(level, smoothing, former, logps[counted.span(order)], say)
            if order > 1:
                place = counted.span(order - 1)
                backoffs[place] = _logs(former.gammas, level.totals, 0.0)
                if len(floors):
                    floors[place] = _logs(former.floors, level.totals, 1.0)
    return Tables(counted.sizes, counted.words, counted.starts, logps, backoffs, floors)


def _logs(values: Reals, totals: Reals, otherwise: float) -> Reals:
    """Make logarithms of the values of contexts, in place; what nothing follows has `otherwise`."""
    np.log(values, out=values)
    values[totals == 0] = otherwise
    return values


@dataclass(frozen=True)
class Level:
    """The n-grams of one order: counts, contexts, and what the lower order says of the same words."""

    order: int
    predicted: int
    """Words that can follow anything: all but the begin mark."""
    counts: Counts
    raw: Counts
    above: Places
    """The context's node; less `offset`, its place among contexts. Order 1 has one context, 0."""
    offset: int
    lower: Reals
    lower_left_out: Reals
    """The same with one occurrence left out of all counts; empty unless weights are to be found."""
    totals: Reals
    """(contexts,): the counts after it."""
    shorter: Ints
    """(contexts,): the place of each context without its first word among those of the order below."""

    @property
    def scales(self) -> Reals:
        """Return 1 ÷ C of each context, 0 where nothing follows."""
        return np.divide(1.0, self.totals, out=np.zeros_like(self.totals), where=self.totals > 0)

    def taken(self, discounts: Reals) -> Reals:
        """Return for each context the sum of discounts[c] over the counts c after it; [3] is for all from 3."""
        taken = np.zeros_like(self.totals)
        of_counts = (self.counts, self.above, self.offset)
        in_shares(lambda low, high: add_taken(*of_counts, low, high, discounts, taken), 0, len(taken))
        return taken


@dataclass(frozen=True)
class Answer:
    """What an order's estimation gives: p of each n-gram, and of each context what backing off costs."""

    p: Reals
    gammas: Reals
    floors: Reals
    left_out: Reals
    sums: Reals
    """(contexts,): what the scores of stupid back-off add up to."""


_NONE = np.zeros(0)


def _level(counted: Counted, order: int, above: Places, smoothing: Smoothing, former: Answer | None) -> Level:
    span = counted.span(order)
    kneser_ney = isinstance(smoothing, kinds.KneserNey | kinds.ModifiedKneserNey)
    raw = counted.counts[span]
    counts = counted.continuations(order) if kneser_ney else raw
    # A mark of its own for the begin never follows anything; where one mark does both, it ends documents.
    never = counted.counts[counted.bos_id] == 0
    predicted = int(counted.sizes[0]) - int(never)
    lower_left_out, shorter = _NONE, np.zeros(0, np.int64)
    if former is None:
        lower = np.full(len(raw), 1 / predicted)
        lower[counted.bos_id] *= not never
        lower_left_out = lower
        offset, many = 0, 1
    else:
        under = counted.span(order - 1)
        offset, many = under.start, under.stop - under.start
        lower = _of_parents(former.p, counted, order)
        if len(former.left_out):
            lower_left_out = _of_parents(former.left_out, counted, order)
        if isinstance(smoothing, kinds.StupidBackoff):
            shorter = _shorter(counted, order)
    totals = np.zeros(many)
    in_shares(lambda low, high: add_counts(counts, above, offset, low, high, totals), 0, many)
    return Level(order, predicted, counts, raw, above, offset, lower, lower_left_out, totals, shorter)


def _of_parents(values: Reals, counted: Counted, order: int) -> Reals:
    under, span = counted.span(order - 1), counted.span(order)
    out = np.empty(span.stop - span.start)
    lower_values(values, counted.starts, under.start, span.start, out)
    return out


def _shorter(counted: Counted, order: int) -> Ints:
    """Return, for the contexts of an order, the place of each without its first word."""
    if order == 2:
        return np.zeros(int(counted.sizes[0]), np.int64)
    span = counted.span(order - 2)
    children = np.diff(counted.starts[span.start : span.stop + 1])
    return np.repeat(np.arange(len(children)), children)


def _solve(
    level: Level, smoothing: Smoothing, former: Answer | None, logs: NDArray[np.float32], say: Say
) -> Answer:
    if isinstance(smoothing, _INTERPOLATED):
        return _interpolated(level, smoothing, logs, say)
    if isinstance(smoothing, kinds.Additive):
        return _additive(level, smoothing, logs)
    return _backed_off(level, smoothing, former, logs, say)


def _interpolated(level: Level, smoothing: Smoothing, logs: NDArray[np.float32], say: Say) -> Answer:
    """p = max(c − D, 0) · scale + γ · lower, where the smoothing says D, scale and γ; takes the place of `lower`."""
    discounts, scales, left_out = np.zeros(4), level.scales, _NONE
    match smoothing:
        case kinds.JelinekMercer():
            weights, left_out = _weights(level, smoothing)
            scales, gammas = scales * weights, 1 - weights
        case kinds.WittenBell():
            seen = level.taken(np.asarray([0.0, 1.0, 1.0, 1.0]))
            both = level.totals + seen
            gammas = np.divide(seen, both, out=np.ones_like(both), where=both > 0)
            scales = np.divide(1.0, both, out=np.zeros_like(both), where=both > 0)
        case _:
            discounts[1:] = _discounts(level, smoothing, say)
            gammas = level.taken(discounts)
            gammas *= scales
    p = level.lower

    def work(low: int, high: int) -> None:
        part = slice(low, high)
        of_contexts = (level.offset, discounts, scales, gammas)
        interpolate(level.counts[part], level.above[part], *of_contexts, p[part], logs[part])

    in_shares(work, 0, len(p))
    return Answer(p, gammas, _NONE, left_out, _NONE)


def _discounts(level: Level, smoothing: Smoothing, say: Say) -> tuple[float, float, float]:
    if isinstance(smoothing, kinds.ModifiedKneserNey):
        return smoothing.discounts or ngram_discounts.three(level.counts, level.order, say)
    assert isinstance(smoothing, kinds.KneserNey | kinds.AbsoluteDiscounting)
    one = smoothing.discount or ngram_discounts.single(level.counts, level.order, say)
    return one, one, one


def _weights(level: Level, smoothing: kinds.JelinekMercer) -> tuple[Reals, Reals]:
    """Return λ of each context, and p of each n-gram with one of its occurrences left out.

    Expectation maximisation; contexts whose total has as many binary digits share their λ.
    """
    totals, seen = level.totals[level.above - level.offset], level.raw > 0
    alone = np.divide(level.raw - 1.0, totals - 1, out=np.zeros(len(totals)), where=seen & (totals > 1))
    buckets = np.minimum(np.frexp(level.totals)[1], _BUCKETS - 1)
    mine = buckets[level.above - level.offset]
    lambdas = np.full(_BUCKETS, smoothing.weight or 0.5)
    if smoothing.weight is None:
        whole = np.bincount(mine, level.raw, _BUCKETS)
        for _ in range(_ROUNDS):
            part, rest = lambdas[mine] * alone, (1 - lambdas[mine]) * level.lower_left_out
            share = np.divide(part, part + rest, out=np.zeros_like(part), where=part + rest > 0)
            found = np.bincount(mine, level.raw * share, _BUCKETS)
            lambdas = np.divide(found, whole, out=lambdas, where=whole > 0)
        lambdas = np.minimum(lambdas, _MOST_WEIGHT)
    left_out = lambdas[mine] * alone + (1 - lambdas[mine]) * level.lower_left_out
    return np.where(level.totals > 0, lambdas[buckets], 0.0), left_out


def _additive(level: Level, smoothing: kinds.Additive, logs: NDArray[np.float32]) -> Answer:
    wholes = level.totals + smoothing.delta * level.predicted
    p = (level.counts + smoothing.delta) / wholes[level.above - level.offset]
    p[level.lower == 0] = 0
    logs[:] = np.log(p)
    return Answer(p, np.ones_like(wholes), smoothing.delta / wholes, _NONE, _NONE)


def _backed_off(
    level: Level, smoothing: Smoothing, former: Answer | None, logs: NDArray[np.float32], say: Say
) -> Answer:
    """p of what was seen from its own counts; γ × the lower order shares what is left among the rest."""
    seen_lower, kept = np.zeros_like(level.totals), np.zeros_like(level.totals)
    add_to_contexts(level.counts, level.above, level.offset, level.lower, seen_lower)
    left = np.maximum(1 - seen_lower, 0.0)
    p = level.counts * level.scales[level.above - level.offset]
    sums = _NONE
    match smoothing:
        case kinds.GoodTuring():
            rates = ngram_discounts.good_turing(level.counts, smoothing.largest, level.order, say)
            p *= rates[np.minimum(level.counts, smoothing.largest + 1)]
            add_to_contexts(level.counts, level.above, level.offset, p, kept)
            # Nothing was taken, but something was never seen: as if the context had been read once more.
            short = (kept > 1 - 1e-9) & (left > 1e-9)
            factors = np.where(short, level.totals / (level.totals + 1), 1.0)
            # Everything was seen: nothing is left to share.
            factors = np.where((left <= 1e-9) & (kept > 0), 1 / np.maximum(kept, 1e-300), factors)
            p *= factors[level.above - level.offset]
            kept *= factors
            gammas = np.divide(1 - kept, left, out=np.ones_like(left), where=left > 1e-9)
        case kinds.StupidBackoff():
            before = np.ones(1) if former is None else former.sums[level.shorter]
            sums = 1 + smoothing.weight * before * left
            sums = np.where(level.totals > 0, sums, before)
            gammas = smoothing.weight * before / sums
            p /= sums[level.above - level.offset]
        case _:
            gammas = np.zeros_like(left)
    gammas = np.where(level.totals > 0, gammas, 1.0)
    back_off(level.counts, level.above, level.offset, gammas, level.lower, p, logs)
    return Answer(p, gammas, _NONE, _NONE, sums)
