"""Subword dropout: texts stay what they are, draws follow from the pair, links go with their tokens."""

import numpy as np
import pytest

from rootlm.data.pairs import PADDING, PairFeed
from rootlm.data.subword_dropout import SubwordDropout
from rootlm.tokenizers.tokenizer_training import KINDS, train
from test_laws_pairs import sides

TEXTS = ["The sea was calm and the night was clear.", "大海平静，夜色清朗。", "the sea, the sea"] * 8


@pytest.fixture(scope="module")
def tokenizer():
    return train(KINDS["bpe"](vocab_size=310), TEXTS)


@pytest.mark.parametrize("chance", [0.1, 0.5, 1.0])
def test_a_text_taken_apart_is_the_same_text(tokenizer, chance):
    dropout = SubwordDropout(tokenizer.merged_from, chance)
    for seed, text in enumerate(TEXTS):
        ids = np.array(tokenizer.encode(text))
        found, counts = dropout.apply(ids, np.random.default_rng(seed))
        assert tokenizer.decode(found.tolist()) == text
        ends = np.cumsum(counts)
        for number, (first, last) in enumerate(zip(ends - counts, ends, strict=True)):
            assert tokenizer.decode(found[first:last].tolist()) == tokenizer.decode([int(ids[number])])
    if chance == 1:
        assert len(found) == len(text.encode())


def test_a_merged_token_is_taken_apart_as_often_as_asked():
    parts = np.array([[-1, -1], [-1, -1], [0, 1]])
    ids = np.full(20_000, 2)
    _, counts = SubwordDropout(parts, 0.3).apply(ids, np.random.default_rng(0))
    assert (counts == 2).mean() == pytest.approx(0.3, abs=0.015)


def test_a_text_that_would_grow_too_long_stays_as_it_is(tokenizer):
    ids = np.array(tokenizer.encode(TEXTS[0]))
    found, counts = SubwordDropout(tokenizer.merged_from, 1.0, len(ids)).apply(ids, np.random.default_rng(0))
    assert np.array_equal(found, ids)
    assert counts.tolist() == [1] * len(ids)


def dropped(chance=0.4):
    """Pairs whose every id n ≥ 2 was merged from 0 and 1: links can be told apart by hand."""
    parts = np.array([[-1, -1], [-1, -1], *([[0, 1]] * 40)])
    dropout = SubwordDropout(parts, chance)
    return sides()._replace(dropout=(dropout, dropout))


def test_every_target_still_says_the_token_it_said():
    plain, pairs = sides(), dropped()
    numbers = np.arange(201)
    before, after = plain.lay(numbers), pairs.lay(numbers, (5, 0, 0))
    for row in numbers:
        owners = []
        for ids in (after.sources[row, : after.source_lengths[row] - 1], after.tokens[row, 1:]):
            # A 1 is the second half of the token that the 0 before it began.
            owners.append(np.cumsum(ids[ids != PADDING] != 1) - 1)
        asked = int((after.targets[row] != PADDING).sum()) - 1
        for place in range(asked):
            link, was = int(after.links[row, place]), int(before.links[row, owners[1][place]])
            assert (link < 0) == (was < 0)
            if link >= 0:
                assert owners[0][link] == was
        assert after.links[row, asked] == after.source_lengths[row] - 1
    assert after.sources.shape[1] > before.sources.shape[1]


def test_spellings_change_from_epoch_to_epoch_and_follow_from_the_seed():
    feed, again = (PairFeed([dropped()], 300, 5) for _ in range(2))
    where = {}
    for step in range(2 * feed.steps):
        pairs, same = feed.step(step), again.step(step)
        assert all(np.array_equal(one, other) for one, other in zip(pairs, same, strict=True))
        for row, number in enumerate(pairs.documents.tolist()):
            spelling = pairs.sources[row, : pairs.source_lengths[row]].tolist()
            where.setdefault(number, []).append(spelling)
    assert all(len(spellings) == 2 for spellings in where.values())
    assert sum(len(set(map(tuple, spellings))) > 1 for spellings in where.values()) > 180


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_share_out_the_same_spellings(workers):
    feed = PairFeed([dropped()], 300, 5)
    for step in range(0, feed.steps, 5):
        whole = feed.step(step)
        rows = {int(n): whole.sources[row].tolist() for row, n in enumerate(whole.documents)}
        for rank in range(workers):
            part = feed.step(step, rank, workers)
            for row, number in enumerate(part.documents.tolist()):
                length = int(part.source_lengths[row])
                assert part.sources[row, :length].tolist() == rows[number][:length]


def test_held_out_pairs_are_never_taken_apart():
    feed, plain = PairFeed([dropped()], 300, None), PairFeed([sides()], 300, None)
    assert all(
        np.array_equal(feed.step(step).sources, plain.step(step).sources) for step in range(plain.steps)
    )
