"""The laws of what is asked of encoders: hidden tokens, pairs of texts, numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from encoders import ENCODERS, build_encoder
from members import VOCABULARY
from rootlm.data.whole_texts import TextFeed, TextSource
from rootlm.data.windows import PADDING, Loader, Marks, WindowSource
from rootlm.models.encoder_config import EncoderConfig
from rootlm.objectives.contrastive import ContrastiveConfig, info_nce
from rootlm.objectives.masked import MaskedConfig
from rootlm.objectives.objective import Vocabulary
from rootlm.objectives.regression import HEAD, RegressionConfig
from rootlm.training.optimizers import AdamWConfig
from rootlm.training.schedules import ConstantConfig
from rootlm.training.trainer import Trainer
from rootlm.training.training_config import TrainingConfig
from test_laws_objectives import Held, cycle, gradients, ragged

MASK, END = VOCABULARY - 1, 0
KNOWN = Vocabulary(size=VOCABULARY, bos_id=END, eos_id=END, special_ids=[END, MASK], mask_id=MASK)
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
MASKED = {
    "tokens": MaskedConfig(),
    "words": MaskedConfig(unit="word"),
    "spans": MaskedConfig(unit="span"),
    "pairs": MaskedConfig(next_sentence=0.5, sentence_order=0.25),
}
HEADS = {"next_sentence": 2, "sentence_order": 2}
TEXTS = {
    "twins": ContrastiveConfig(),
    "first token": ContrastiveConfig(pooling="cls"),
    "lines": ContrastiveConfig(positives="lines", pooling="last"),
    "regression": RegressionConfig(),
}


def store(count=40):
    """Ragged documents without the mask, whose ids are uint16."""
    return ragged(count, MASK)


def words_of(held, seed=5):
    """Word starts at random, with one at the start of each document."""
    starts = np.random.default_rng(seed).random(len(held.ids)) < 0.4
    starts[held.offsets[:-1]] = True
    return starts


def windows(rows=8, context=32, held=None):
    held = held or store()
    return Loader([WindowSource(held, Marks(END, END), context, 1, starts=words_of(held))], [1.0], rows, 1)


def texts(rows=8):
    held, other = store(), Held([[7, *document] for document in np.array_split(store().ids[::-1], 40)])
    numbers = np.random.default_rng(2).normal(size=40)
    return TextFeed(TextSource(held, Marks(END, END), 32, other, numbers), rows, 1)


def built(config):
    return config.fitted(KNOWN).build()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=MASKED)
def masked(request):
    return built(MASKED[request.param])


@pytest.fixture(params=[*MASKED, *TEXTS])
def asked(request):
    """An objective with what it reads."""
    name = request.param
    return (built(MASKED[name]), windows()) if name in MASKED else (TEXTS[name].build(), texts())


def model_of(name="modern", **changes):
    return build_encoder(name, pooler="mean", heads={**HEADS, HEAD: 1}, **changes)


def step_of(objective, feed, pieces):
    model = model_of("bert")
    config = TrainingConfig(
        max_steps=1, batch_size=8, max_grad_norm=None, compile=False, gradient_accumulation_steps=pieces
    )
    trainer = Trainer(model, objective, feed, config, steps=1)
    held = []
    trainer.optimizers[0].step = lambda: held.extend(gradients(model))
    return trainer.step(), held


@pytest.mark.parametrize("name", [*MASKED, "regression"])
@pytest.mark.parametrize("pieces", [2, 3, 8])
def test_accumulating_equals_one_big_batch(name, pieces):
    # What contrasts the rows of a batch is exempt by name: fewer rows are fewer to be told apart from.
    objective, feed = (built(MASKED[name]), windows()) if name in MASKED else (TEXTS[name].build(), texts())
    expected_facts, expected = step_of(objective, feed, 1)
    facts, found = step_of(objective, feed, pieces)
    for term, value in expected_facts.items():
        assert facts[term] == pytest.approx(value, rel=1e-4), term
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_counts_told_before_are_the_counts_of_the_terms(asked):
    objective, feed = asked
    batch = objective.prepare(feed.step(0), generator())
    promised = objective.counts(batch)
    model = model_of()
    terms = objective.loss(model, batch)
    assert terms.keys() == promised.keys()
    for name, term in terms.items():
        assert term.total.shape == term.count.shape == (len(batch.tokens),)
        torch.testing.assert_close(term.count.sum(), promised[name])
        assert float(promised[name]) > 0
    with torch.no_grad():
        judged = objective.judge(model, batch)
    assert "loss" in judged
    for name, term in judged.items():
        assert term.total.shape == term.count.shape, name


def test_weightless_positions_have_no_gradient(masked):
    batch, model = masked.prepare(windows().step(0), generator()), model_of()
    kept = torch.arange(batch.tokens.shape[1]) < 20
    weights = torch.where(kept, batch.weights, 0.0)
    changed = torch.where(kept | (batch.targets < 0), batch.targets, 1 + (batch.targets + 1) % (MASK - 1))

    def read(targets):
        model.zero_grad()
        term = masked.loss(model, replace(batch, targets=targets, weights=weights))["loss"]
        term.total.sum().backward()
        return term, gradients(model)

    (one, first), (other, second) = read(batch.targets), read(changed)
    assert not torch.equal(batch.targets, changed)
    torch.testing.assert_close(one.total, other.total)
    torch.testing.assert_close(one.count, weights.sum(1))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", ["pairs", *TEXTS])
def test_what_lies_in_the_padding_changes_nothing(name):
    objective, feed = (built(MASKED[name]), windows()) if name in MASKED else (TEXTS[name].build(), texts())
    batch, model = objective.prepare(feed.step(0), generator()), model_of()
    real = torch.arange(batch.tokens.shape[1]) < batch.lengths[:, None]
    assert not real.all()
    other = replace(batch, tokens=torch.where(real, batch.tokens, 7))
    for term, held in objective.loss(model, batch).items():
        torch.testing.assert_close(objective.loss(model, other)[term].total, held.total, **CLOSE)


def many(config, rows=200, context=64):
    rows_read = windows(rows, context, store(400)).step(0)
    objective = built(config)
    return rows_read, objective.prepare(rows_read, generator())


@pytest.mark.parametrize("unit", ["token", "word", "span"])
def test_the_shares_hold(unit):
    rows, batch = many(MaskedConfig(unit=unit))
    tokens = torch.from_numpy(rows.tokens)
    hidden = batch.targets >= 0
    real = tokens != END
    assert hidden.sum() / real.sum() == pytest.approx(0.15, abs=0.02)
    assert torch.equal(batch.targets[hidden], tokens[hidden])
    assert torch.equal(batch.tokens[~hidden], tokens[~hidden])
    given = batch.tokens[hidden]
    same = (given == tokens[hidden]).float().mean()
    assert (given == MASK).float().mean() == pytest.approx(0.8, abs=0.03)
    # One random token in 48 happens to be the true one.
    assert same == pytest.approx(0.1 + 0.1 / 48, abs=0.025)


def test_marks_are_never_hidden_nor_put_in(masked):
    rows = windows(64).step(0)
    batch = masked.prepare(rows, generator())
    hidden = batch.targets >= 0
    assert hidden.any(1).all()
    assert not torch.isin(batch.targets[hidden], torch.tensor([END, MASK])).any()
    assert (batch.tokens[hidden] != END).all()


@pytest.mark.parametrize("unit", ["word", "span"])
def test_words_are_hidden_whole(unit):
    rows, batch = many(MaskedConfig(unit=unit))
    hidden = batch.targets >= 0
    starts = torch.from_numpy(rows.starts).bool()
    segments = torch.from_numpy(rows.segments)
    inside = ~starts[:, 1:] & (segments[:, 1:] == segments[:, :-1])
    before_is_mark = torch.from_numpy(rows.tokens)[:, :-1] == END
    inside &= ~before_is_mark
    assert inside.sum() > 1000
    assert torch.equal(hidden[:, 1:][inside], hidden[:, :-1][inside])


def test_spans_are_longer_than_words():
    def runs(unit):
        hidden = many(MaskedConfig(unit=unit))[1].targets >= 0
        begins = hidden[:, 1:] & ~hidden[:, :-1]
        return float(hidden.sum() / begins.sum())

    assert runs("token") < runs("word") < 0.7 * runs("span")


def test_every_batch_is_drawn_anew_and_a_seed_draws_the_same(masked):
    rows = windows().step(0)
    one, same, other = (masked.prepare(rows, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(one.tokens, same.tokens)
    assert not torch.equal(one.targets, other.targets)


def test_pairs_say_what_they_are():
    """Documents that count upwards: a half that follows begins where the first one ends."""
    held = Held([range(1 + start, 30 + start) for start in range(19)])
    feed = Loader([WindowSource(held, Marks(END, END), 30, 1)], [1.0], 19, 1)
    seen = {"next": set(), "order": set()}
    for seed in range(6):
        config = MaskedConfig(next_sentence=1, sentence_order=1, rate=0.01)
        batch = built(config).prepare(feed.step(seed), generator(seed))
        tokens = torch.where(batch.targets >= 0, batch.targets, batch.tokens)
        for row in range(len(tokens)):
            length, border = int(batch.lengths[row]), int((batch.types[row] == 0).nonzero().max()) + 1
            border = int((batch.types[row, :length] == 1).nonzero().min())
            assert tokens[row, 0] == tokens[row, border - 1] == tokens[row, length - 1] == END
            first, second = tokens[row, 1 : border - 1], tokens[row, border : length - 1]
            follows, precedes = int(second[0]) == int(first[-1]) + 1, int(first[0]) == int(second[-1]) + 1
            following, order = int(batch.next_sentence[row]), int(batch.sentence_order[row])
            assert (following == 1) == follows or following == 0
            assert (order == 0) == precedes or following == 0
            seen["next"].add(following)
            seen["order"].add(order)
            assert (following, order) in ((1, 1), (0, -1), (-1, 0))
    assert seen == {"next": {-1, 0, 1}, "order": {-1, 0, 1}}


def learnt(objective, model, feed, steps, rate=3e-3):
    config = TrainingConfig(
        max_steps=steps,
        batch_size=8,
        optimizer=AdamWConfig(learning_rate=rate, weight_decay=0.0),
        schedule=ConstantConfig(),
        compile=False,
    )
    trainer = Trainer(model, objective, feed, config, steps=steps)
    losses = [trainer.step()["loss"] for _ in range(steps)]
    model.eval()
    batch = objective.prepare(feed.step(steps), generator())
    with torch.no_grad():
        return losses, objective.judge(model, batch)


@pytest.mark.parametrize("preset", ["bert", "modern"])
def test_masked_learns_a_toy_language(preset):
    torch.manual_seed(0)
    model = EncoderConfig(preset=preset, depth=2, hidden_size=32, n_heads=2, context=21).build(13)
    known = KNOWN.model_copy(update={"size": 13, "mask_id": 12, "special_ids": [0, 12]})
    feed = Loader([WindowSource(cycle(), Marks(0, 0), 21, 1)], [1.0], 8, 1)
    # Hidden once in seven, a neighbour is nearly always there to tell by.
    config = MaskedConfig(mask_share=1.0, random_share=0.0)
    losses, judged = learnt(config.fitted(known).build(), model, feed, 150, 1e-2)
    assert losses[0] == pytest.approx(math.log(13), rel=0.15)
    assert judged["accuracy"].total.sum() / judged["accuracy"].count.sum() > 0.95


def test_contrastive_learns_which_texts_belong_together():
    """A document and its partner share one rare id among common ones."""
    drawn = np.random.default_rng(0)
    common = [drawn.integers(30, MASK, (24, 6)).tolist() for _ in range(2)]
    sides = [Held([[1 + row, *texts[row]] for row in range(24)]) for texts in common]
    feed = TextFeed(TextSource(sides[0], Marks(END, END), 32, sides[1]), 8, 1)
    torch.manual_seed(0)
    model = EncoderConfig(preset="modern", depth=1, hidden_size=32, n_heads=2, context=32).build(VOCABULARY)
    losses, judged = learnt(ContrastiveConfig(positives="lines").build(), model, feed, 60)
    assert losses[-1] < losses[0] / 2
    assert judged["accuracy"].total.mean() > 0.9


def test_regression_learns_a_number_that_stands_in_the_text():
    documents = [[1 + row % 5, 20, 21] for row in range(40)]
    numbers = np.array([row % 5 for row in range(40)], np.float64)
    feed = TextFeed(TextSource(Held(documents), Marks(END, END), 32, numbers=numbers), 8, 1)
    torch.manual_seed(0)
    config = RegressionConfig().network(EncoderConfig(preset="bert", depth=1, hidden_size=32, n_heads=2))
    losses, judged = learnt(RegressionConfig().build(), config.build(VOCABULARY), feed, 120, 1e-2)
    assert losses[0] > 1
    assert judged["loss"].total.mean() < 0.05


def test_the_squared_error_is_what_its_formula_says():
    model, objective = model_of(), RegressionConfig().build()
    batch = objective.prepare(texts().step(0), generator())
    said = model.tell(HEAD, model(batch.tokens, batch.lengths), batch.lengths)[:, 0]
    expected = (said - batch.numbers.float()).square()
    torch.testing.assert_close(objective.loss(model, batch)["loss"].total, expected, **CLOSE)


def test_info_nce_has_the_value_that_is_known():
    """Vectors at right angles: −ln(1 / (1 + (n − 1) e^(−1/τ)))."""
    n, owners = 6, torch.arange(6)
    nats, right = info_nce(torch.eye(n) * 3, torch.eye(n) * 0.2, 0.5, owners)
    expected = math.log(1 + (n - 1) * math.exp(-2))
    torch.testing.assert_close(nats, torch.full((n,), expected))
    assert right.all()
    # Rows of one document are no negatives of each other.
    nats, _ = info_nce(torch.eye(n), torch.eye(n), 0.5, torch.tensor([0, 0, 0, 0, 0, 1]))
    torch.testing.assert_close(nats[0], torch.tensor(math.log(1 + math.exp(-2))))
    torch.testing.assert_close(nats[5], torch.tensor(expected))


def test_twins_differ_by_dropout_alone():
    objective = ContrastiveConfig().build()
    batch = objective.prepare(texts().step(0), generator())
    batch = replace(batch, partners=None, partner_lengths=None)
    still, shaken = model_of("bert"), model_of("bert", dropout=0.3)
    certain = objective.loss(still, batch)["loss"].total
    torch.testing.assert_close(objective.loss(shaken.eval(), batch)["loss"].total, certain, **CLOSE)
    assert not torch.allclose(objective.loss(shaken.train(), batch)["loss"].total, certain)
    looks = [objective.judge(shaken.eval(), batch)["loss"].total for _ in range(2)]
    assert torch.equal(*looks)
    assert not shaken.training


def test_twins_without_dropout_are_refused():
    with pytest.raises(ValueError, match=r"model\.dropout is 0; set model\.dropout=0\.1"):
        ContrastiveConfig().network(ENCODERS["bert"])


def test_shares_beyond_everything_are_refused():
    with pytest.raises(ValueError, match="mask_share and random_share are more than everything"):
        MaskedConfig(mask_share=0.8, random_share=0.3)


def test_every_document_is_read_once_an_epoch_and_what_is_too_long_is_cut():
    feed = texts(rows=7)
    places = [number for step in range(40) for number in feed.step(step).documents.tolist()]
    for epoch in range(7):
        assert sorted(places[epoch * 40 : epoch * 40 + 40]) == list(range(40))
    assert places[:40] != places[40:80]
    rows = feed.step(3)
    for row, document in enumerate(rows.documents.tolist()):
        length = int(rows.lengths[row])
        held = feed.source.store
        ids = held.ids[held.offsets[document] : held.offsets[document + 1]][:31]
        assert rows.tokens[row, :length].tolist() == [END, *ids.tolist()]
        assert (rows.tokens[row, length:] == END).all()
    still = TextFeed(feed.source, 16, None)
    parts = [still.step(step, rank, 3).documents for step in range(still.steps) for rank in range(3)]
    assert np.concatenate(parts).tolist() == list(range(40))


def test_word_starts_lie_where_their_tokens_lie():
    held = store()
    # A token's id says whether a word begins with it.
    source = WindowSource(held, Marks(END, END), 16, 3, starts=np.asarray(held.ids) % 3 == 0)
    for number in range(source.per_epoch):
        tokens, _, _, documents, starts = source.window(number)
        real = (documents != PADDING) & (tokens != END)
        assert np.array_equal(starts[real].astype(bool), tokens[real] % 3 == 0)
