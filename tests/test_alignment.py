"""Word alignment of pairs: what it finds where the truth is known, how it is kept, and how attention follows it."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rootlm.data.alignment import align, open_or_align
from rootlm.data.pairs import PADDING, PairFeed, Sides
from rootlm.data.windows import Marks
from rootlm.models.attention_rnn import RecurrentEncoderDecoderConfig
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.objectives.sequence_to_sequence import SequenceToSequenceConfig
from rootlm.training.optimizers import AdamWConfig
from rootlm.training.schedules import ConstantConfig
from rootlm.training.trainer import Trainer
from rootlm.training.training_config import TrainingConfig

WORDS, MARKS = 20, Marks(0, 1)
SHUFFLE = np.random.default_rng(6).permutation


def held(texts):
    ids = np.array([token for text in texts for token in text], np.uint16)
    return SimpleNamespace(ids=ids, offsets=np.cumsum([0, *map(len, texts)], dtype=np.int64))


def said_again(count=300, order=SHUFFLE):
    """Texts, and the same in other words and in another order; no word stands twice in a text."""
    draws = np.random.default_rng(4)
    texts = [draws.permutation(WORDS)[: draws.integers(1, 7)] + 2 for _ in range(count)]
    return held(texts), held([order(text) + WORDS for text in texts])


def truth(source, target):
    """The place of each word of the targets in its source."""
    places = []
    for begin, end in itertools.pairwise(source.offsets):
        read = source.ids[begin:end].tolist()
        places += [read.index(word - WORDS) for word in target.ids[begin:end].tolist()]
    return np.array(places)


def test_words_that_say_the_same_are_found():
    source, target = said_again()
    links = align(source, target, 2 + 2 * WORDS)
    assert (links.of_targets == truth(source, target)).mean() > 0.98
    assert (align(target, source, 2 + 2 * WORDS).of_sources == truth(source, target)).mean() > 0.98


def test_links_of_both_directions_agree():
    source, target = said_again()
    there, back = align(source, target, 2 + 2 * WORDS)
    exchanged = align(target, source, 2 + 2 * WORDS)
    assert (exchanged.of_sources == there).mean() > 0.99
    assert (exchanged.of_targets == back).mean() > 0.99
    for first, last in zip(source.offsets[:-1], source.offsets[1:], strict=True):
        one, other = there[first:last], back[first:last]
        for place, link in enumerate(one):
            assert link < 0 or other[link] == place


def test_blocks_and_a_sample_change_nothing_that_matters(monkeypatch):
    source, target = said_again()
    whole = align(source, target, 2 + 2 * WORDS).of_targets
    monkeypatch.setattr("rootlm.data.alignment._BLOCK_LINKS", 50)
    assert np.array_equal(align(source, target, 2 + 2 * WORDS).of_targets, whole)
    monkeypatch.setattr("rootlm.data.alignment._LEARNED_LINKS", 2000)
    assert (align(source, target, 2 + 2 * WORDS).of_targets == truth(source, target)).mean() > 0.95


def test_an_empty_side_has_no_links():
    source, target = held([[], [2, 3], [4]]), held([[5, 6], [], [7]])
    assert align(source, target, 10).of_targets[:2].tolist() == [-1, -1]
    assert [one.tolist() for one in align(held([[2]]), held([[]]), 10)] == [[], [-1]]
    assert [one.tolist() for one in align(held([[]]), held([[2]]), 10)] == [[-1], []]


def test_links_are_kept_until_the_text_changes(tmp_path):
    def store(texts, name):
        facts = SimpleNamespace(corpus=name, tokenizer="t", vocab_size=50)
        return SimpleNamespace(**vars(texts), facts=facts, tokens=len(texts.ids))

    def kept(texts, name):
        source, target = (store(one, name) for one in texts)
        return [one.tolist() for one in open_or_align(tmp_path / "links", source, target)]

    texts, others = said_again(), (held([[3]] * 300), said_again()[1])
    first = kept(texts, "one")
    assert first == [one.tolist() for one in align(*texts, 50)]
    assert kept(others, "two") != first


def test_a_pair_brings_its_links():
    links = np.array([1, -1, 0], np.int64)
    sides = Sides(held([[5, 6], [7]]), held([[8, 9], [10]]), MARKS, MARKS, links)
    rows = sides.lay(np.array([1, 0]))
    assert rows.links.tolist() == [[0, 1, PADDING], [1, -1, 2]]
    assert sides.only(np.array([1])).lay(np.array([0])).links.tolist() == [[0, 1]]
    assert set(sides._replace(links=None).lay(np.array([0])).links.ravel()) == {PADDING}


@pytest.mark.parametrize(
    "model",
    [
        EncoderDecoderConfig(depth=1, hidden_size=32, n_heads=2, context=16),
        RecurrentEncoderDecoderConfig(hidden_size=32, attention="dot"),
    ],
    ids=["transformer", "luong"],
)
def test_attention_goes_where_it_is_guided(model):
    source, target = said_again(60, np.flip)
    sides = Sides(source, target, MARKS, MARKS, truth(source, target))
    config = TrainingConfig(
        optimizer=AdamWConfig(learning_rate=1e-2, weight_decay=0.0),
        schedule=ConstantConfig(warmup_steps=5),
        compile=False,
    )
    heard = {}
    for guided in (0.0, 1.0):
        torch.manual_seed(0)
        objective = SequenceToSequenceConfig(label_smoothing=0.0, guided=guided).build()
        trainer = Trainer(model.build(2 + 2 * WORDS), objective, PairFeed([sides], 200, 1), config, steps=60)
        for _ in range(60):
            facts = trainer.step()
        assert ("alignment" in facts) == bool(guided)
        batch = (
            SequenceToSequenceConfig(guided=1.0).build().prepare(sides.lay(np.arange(20)), torch.Generator())
        )
        read = batch.source._replace(watched=True)
        shares = trainer.model.eval()(batch.tokens, source=read).attention
        heard[guided] = (shares.argmax(-1) == batch.links)[batch.linked].float().mean()
    assert heard[1.0] > max(0.9, heard[0.0])
