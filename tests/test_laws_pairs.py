"""The laws of pairs: their batches, and the objectives that write a target after its source."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from members import VOCABULARY, randomise
from rootlm.data.pairs import PADDING, PairFeed, Sides
from rootlm.data.windows import Loader, Marks, WindowSource
from rootlm.models.attention_rnn import RecurrentEncoderDecoderConfig
from rootlm.models.encoder_decoder_config import EncoderDecoderConfig
from rootlm.objectives.denoising import DenoisingConfig, spans
from rootlm.objectives.sequence_to_sequence import SequenceToSequence, SequenceToSequenceConfig, SourceBatch
from rootlm.training.optimizers import AdamWConfig
from rootlm.training.schedules import ConstantConfig
from rootlm.training.trainer import Trainer
from rootlm.training.training_config import TrainingConfig

MARKS = Marks(0, 1)
SENTINELS = tuple(range(VOCABULARY - 12, VOCABULARY))
MODELS = {
    "transformer": EncoderDecoderConfig(depth=1, hidden_size=32, n_heads=2, context=64),
    "t5": EncoderDecoderConfig(preset="t5", depth=1, hidden_size=32, n_heads=2, context=64),
    "pointer": EncoderDecoderConfig(copies=True, order="pre", depth=1, hidden_size=32, n_heads=2, context=64),
    "bahdanau": RecurrentEncoderDecoderConfig(hidden_size=24),
    "luong": RecurrentEncoderDecoderConfig(attention="dot", cell="lstm", hidden_size=24),
}


def held(texts):
    ids = np.array([token for text in texts for token in text], np.uint16)
    return SimpleNamespace(ids=ids, offsets=np.cumsum([0, *map(len, texts)], dtype=np.int64))


def sides(count=200, seed=3):
    """Pairs of many lengths, a long one among them; the ids of pair n tell n."""
    draws = np.random.default_rng(seed)
    sizes = [(int(a), int(a * draws.uniform(0.5, 1.5)) + 1) for a in draws.integers(1, 40, count)]
    texts = [([2 + n % 40] * a, [2 + n % 40] * b) for n, (a, b) in enumerate([*sizes, (90, 80)])]
    links = np.concatenate([draws.integers(-1, len(one), len(other)) for one, other in texts])
    return Sides(held([one for one, _ in texts]), held([other for _, other in texts]), MARKS, MARKS, links)


@pytest.mark.parametrize("kinds", [1, 2])
@pytest.mark.parametrize("seed", [None, 7])
def test_an_epoch_shows_every_pair_once_and_no_batch_is_too_large(kinds, seed):
    every = [sides(seed=number) for number in range(kinds)]
    feed = PairFeed(every, 160, seed)
    for epoch in range(2):
        seen = []
        for step in range(feed.steps):
            pairs = feed.step(epoch * feed.steps + step)
            assert pairs.sources.size + pairs.tokens.size <= 160 or len(pairs.documents) == 1
            seen += pairs.documents.tolist()
        assert sorted(seen) == sorted(list(range(201)) * kinds)


def test_pairs_of_like_length_stand_together():
    feed = PairFeed([sides(2000)], 800, 1)
    assert feed.filling > 0.8
    places = sum(feed.step(step).sources.size + feed.step(step).tokens.size for step in range(feed.steps))
    assert places / feed.steps == pytest.approx(feed.places_per_step, rel=0.02)


def test_any_step_is_had_without_those_before_it_and_epochs_differ():
    first, second = PairFeed([sides()], 300, 5), PairFeed([sides()], 300, 5)
    later = [first.step(step) for step in range(3 * first.steps)][2 * first.steps + 3]
    for one, other in zip(later, second.step(2 * first.steps + 3), strict=True):
        assert np.array_equal(one, other)
    orders = [
        [first.step(e * first.steps + s).documents.tolist() for s in range(first.steps)] for e in (0, 1)
    ]
    assert orders[0] != orders[1]
    assert sorted(map(len, orders[0])) == sorted(map(len, orders[1]))


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_share_out_a_step(workers):
    feed = PairFeed([sides()], 300, 5)
    for step in range(feed.steps):
        whole = feed.step(step)
        parts = [feed.step(step, rank, workers) for rank in range(workers)]
        asked = [part.documents[(part.targets != PADDING).any(1)].tolist() for part in parts]
        assert [one for part in asked for one in part] == whole.documents.tolist()
        assert all(len(part.documents) for part in parts)


def test_a_pair_is_laid_out_with_its_marks():
    one = Sides(held([[5, 6], [7]]), held([[8], [9, 10]]), MARKS, MARKS).lay(np.array([1, 0]))
    assert one.sources.tolist() == [[7, 1, 1], [5, 6, 1]]
    assert one.source_lengths.tolist() == [2, 3]
    assert one.tokens.tolist() == [[0, 9, 10], [0, 8, 1]]
    assert one.targets.tolist() == [[9, 10, 1], [8, 1, PADDING]]


def windows():
    draws = np.random.default_rng(2)
    store = held([draws.integers(2, VOCABULARY - 12, size).tolist() for size in draws.integers(1, 60, 30)])
    return Loader([WindowSource(store, MARKS, 40, 1)], [1.0], 5, 1)


def batch_of(name) -> tuple:
    if name == "denoising":
        objective = DenoisingConfig(sentinel_ids=SENTINELS).build()
        return objective, objective.prepare(windows().step(0), torch.Generator().manual_seed(1))
    costs = {"smoothed": {"label_smoothing": 0.1}, "guided": {"guided": 0.5}}.get(name, {})
    objective = SequenceToSequenceConfig(**{"label_smoothing": 0.0, **costs}).build()
    feed = PairFeed([sides()], 300, 5)
    return objective, objective.prepare(feed.step(4), torch.Generator())


OBJECTIVES = ["pairs", "smoothed", "guided", "denoising"]


@pytest.fixture(params=MODELS)
def model(request):
    return randomise(MODELS[request.param].build(VOCABULARY)).train()


def read(objective, model, *batches):
    model.zero_grad()
    parts = [objective.loss(model, batch) for batch in batches]
    costs = torch.cat([sum(term.total for term in terms.values()) for terms in parts])
    costs.sum().backward()
    return costs.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_rows_do_not_see_each_other_and_padding_changes_nothing(name, model):
    objective, batch = batch_of(name)
    expected, first = read(objective, model, batch)
    for others in (batch.split(3), [longer(batch)]):
        found, second = read(objective, model, *others)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        for one, other in zip(first, second, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def longer(batch):
    """The same rows with more padding, of another token."""

    def pad(tensor, value):
        return torch.nn.functional.pad(tensor, (0, 3), value=value)

    own = (
        (batch.tokens, 5),
        (batch.targets, PADDING),
        (batch.weights, 0.0),
        (batch.segments, 0),
        (batch.sources, 7),
    )
    *parts, sources = (pad(tensor, value) for tensor, value in own)
    links = None if batch.links is None else pad(batch.links, 4)
    return SourceBatch(*parts, sources, batch.source_lengths, links)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_counts_told_before_are_those_of_the_terms(name, model):
    objective, batch = batch_of(name)
    terms, told = objective.loss(model, batch), objective.counts(batch)
    assert terms.keys() == told.keys()
    for key, term in terms.items():
        assert term.total.shape == term.count.shape == (len(batch),)
        assert float(term.count.sum()) == float(told[key]) > 0
    term = terms["loss"]
    judged = objective.judge(model, batch)
    assert 0 <= judged["accuracy"].total.sum() <= judged["accuracy"].count.sum()
    if name != "smoothed":
        torch.testing.assert_close(judged["loss"].total, term.total.detach(), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_a_toy_translation(name):
    """What the source says, as often as it says it, in other words: nothing of it can be known without reading."""
    draws = np.random.default_rng(1)
    texts = [[int(draws.integers(2, 12))] * size for size in draws.integers(1, 4, 300)]
    pairs = Sides(held(texts), held([[text[0] + 10] * 2 for text in texts]), MARKS, MARKS)
    optimizer = AdamWConfig(learning_rate=1e-2, weight_decay=0.0)
    config = TrainingConfig(optimizer=optimizer, schedule=ConstantConfig(warmup_steps=5), compile=False)
    torch.manual_seed(0)
    feed = PairFeed([pairs], 200, 1)
    trainer = Trainer(MODELS[name].build(24), SequenceToSequence(), feed, config, steps=60)
    losses = [trainer.step()["loss"] for _ in range(60)]
    assert losses[0] == pytest.approx(np.log(24), rel=0.3)
    assert np.mean(losses[-5:]) < 0.2


def test_spans_come_back_and_take_their_share():
    draws = np.random.default_rng(0)
    hidden = [spans(200, 0.15, 3.0, 99, draws) for _ in range(50)]
    assert {int(one.sum()) for one in hidden} == {30}
    assert not any(one[0] for one in hidden)
    runs = [int((one[1:] & ~one[:-1]).sum()) for one in hidden]
    assert set(runs) == {10}
    objective = DenoisingConfig(sentinel_ids=SENTINELS).build()
    rows = windows().step(0)
    batch = objective.prepare(rows, torch.Generator().manual_seed(1))
    for row, text in enumerate(rows.tokens):
        source = batch.sources[row, : batch.source_lengths[row]].tolist()
        answer = [token for token in batch.targets[row].tolist() if token != PADDING]
        cut = {}
        for token in answer:
            if token in SENTINELS:
                cut[token] = []
            else:
                cut[list(cut)[-1]].append(token)
        back = [token for one in source for token in cut.get(one, [one])]
        assert back == text[rows.targets[row] != PADDING].tolist()
        assert batch.tokens[row, 1 : len(answer)].tolist() == answer[:-1]


def test_a_window_without_text_asks_for_nothing():
    rows = windows().step(0)
    empty = rows._replace(targets=np.full_like(rows.targets, PADDING))
    batch = DenoisingConfig(sentinel_ids=SENTINELS).build().prepare(empty, torch.Generator())
    assert float(batch.weights.sum()) == 0
    assert batch.source_lengths.tolist() == [1] * 5


def test_positions_that_turn_by_the_length_of_a_text_are_refused():
    """What is written would turn by another rate than what has been read."""
    scaling = {"kind": "dynamic", "factor": 2, "original": 9}
    with pytest.raises(ValueError, match=r"scaling\.kind=dynamic turns a text by its length"):
        EncoderDecoderConfig(preset="t5", position={"kind": "rotary", "scaling": scaling})
