"""Laws of the bootstrap: known answers, coverage, pairing."""

import numpy as np
import pytest

from rootlm.evaluation.intervals import Interval, difference, ratio


def noise(documents, seed=0):
    generator = np.random.default_rng(seed)
    counts = generator.integers(20, 200, documents).astype(float)
    return counts * generator.normal(2.0, 0.5, documents), counts


def test_the_same_seed_gives_the_same_interval():
    totals, counts = noise(100)
    assert ratio(totals, counts, seed=1) == ratio(totals, counts, seed=1)
    assert ratio(totals, counts, seed=1) != ratio(totals, counts, seed=2)


def test_documents_that_agree_leave_no_doubt():
    counts = np.array([3.0, 10.0, 7.0])
    assert ratio(2 * counts, counts) == Interval(2.0, 2.0, 2.0)


def test_a_large_sample_agrees_with_the_normal_theory():
    totals, counts = noise(2000)
    found = ratio(totals, counts, resamples=4000)
    residual = totals - found.value * counts
    error = np.sqrt((residual**2).sum()) / counts.sum()
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.1 * error)


def test_nineteen_of_twenty_intervals_hold_the_truth():
    held = [
        interval.low <= 2.0 <= interval.high
        for interval in (ratio(*noise(60, seed), resamples=300) for seed in range(400))
    ]
    assert 0.90 < np.mean(held) < 0.98


def test_long_documents_count_for_more():
    assert ratio([10, 0], [10, 90]).value == pytest.approx(0.1)


def test_pairing_shows_a_small_difference():
    totals, counts = noise(200)
    better = totals - 0.01 * counts + np.random.default_rng(5).normal(0, 0.02, 200) * counts
    paired = difference((totals, counts), (better, counts))
    apart = ratio(totals, counts), ratio(better, counts)
    assert 0 < paired.low < paired.value < paired.high
    assert apart[0].low < apart[1].high


def test_the_chunks_do_not_show(monkeypatch):
    totals, counts = noise(50)
    whole = ratio(totals, counts)
    monkeypatch.setattr("rootlm.evaluation.intervals._CHUNK", 120)
    assert ratio(totals, counts) == whole


def test_one_document_has_no_interval():
    assert ratio([3.0], [2.0]) == Interval(1.5, None, None)
    assert Interval(1.5, None, None).map(lambda value: value + 1) == Interval(2.5, None, None)


def test_nothing_counted_is_an_error():
    with pytest.raises(ValueError, match="nothing was counted"):
        ratio([0.0, 0.0], [0.0, 0.0])


def test_different_documents_are_refused():
    with pytest.raises(ValueError, match="same documents"):
        difference(([1], [1]), ([1, 2], [1, 2]))
