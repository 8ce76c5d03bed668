"""N-gram models: what each smoothing gives by hand, sums, pruning, runs on disk, the path of a token."""

import math

import numpy as np
import pytest
import torch

from rootlm.models import smoothing as kinds
from rootlm.models.interface import All, Targets
from rootlm.models.ngram import Ngram
from rootlm.models.ngram_settings import NgramConfig, PruningConfig
from rootlm.training.ngram_counts import count
from rootlm.training.ngram_fitting import fit, learn

BOS, EOS, A, B, C = range(5)
MARKS = (BOS, EOS)
SMOOTHINGS = {
    "maximum_likelihood": kinds.MaximumLikelihood(),
    "additive": kinds.Additive(),
    "good_turing": kinds.GoodTuring(largest=2),
    "jelinek_mercer": kinds.JelinekMercer(weight=0.5),
    "jelinek_mercer_found": kinds.JelinekMercer(),
    "witten_bell": kinds.WittenBell(),
    "absolute_discounting": kinds.AbsoluteDiscounting(discount=0.5),
    "stupid_backoff": kinds.StupidBackoff(),
    "kneser_ney": kinds.KneserNey(discount=0.5),
    "modified_kneser_ney": kinds.ModifiedKneserNey(discounts=(0.5, 1.0, 1.5)),
    "modified_kneser_ney_found": kinds.ModifiedKneserNey(),
}
# p(b | a), p(c | a), p(end | a) after counting "a b", "a b", "a c", worked out with pencil and paper.
BY_HAND = {
    "maximum_likelihood": (2 / 3, 1 / 3, 0),
    "additive": (3 / 7, 2 / 7, 1 / 7),
    "good_turing": (5 / 9, 2 / 9, 1 / 9),
    "jelinek_mercer": (1 / 3 + 17 / 144, 1 / 6 + (1 / 18 + 1 / 8) / 2, (1 / 6 + 1 / 8) / 2),
    "witten_bell": (32 / 65, 17 / 65, 8 / 65),
    "absolute_discounting": (1 / 2 + 2 / 27, 1 / 6 + 1 / 27, 1 / 9),
    "stupid_backoff": (10 / 19, 5 / 19, 2 / 19),
    "kneser_ney": (1 / 2 + 1 / 15, 1 / 6 + 1 / 15, 2 / 15),
    "modified_kneser_ney": (1 / 3 + 0.1125, 1 / 6 + 0.1125, 0.1625),
}


def piece(documents):
    """Return documents as counting takes them, each with its end mark."""
    ended = [[*document, EOS] for document in documents]
    return np.concatenate(ended), np.cumsum([0, *map(len, ended)], dtype=np.int64)


def made_up(documents=400, vocabulary=30, seed=0):
    """Return documents in which one word leads to another, some words often and some never."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(documents):
        words = [2 + int(generator.integers(3))]
        for _ in range(int(generator.integers(1, 14))):
            words.append(2 + int((words[-1] * 7 + generator.geometric(0.4)) % (vocabulary - 4)))
        found.append(words)
    return found


def model_of(documents, vocabulary, say=None, **settings):
    said = []
    model = Ngram(NgramConfig(**settings), vocabulary)
    fit(model, [piece(documents)], MARKS, say or said.append)
    return model


@torch.no_grad()
def after(model, context):
    """Return p of every word after a context."""
    return model(torch.tensor([context]), ask=All()).values[0, -1].double().exp()


@pytest.mark.parametrize("name", BY_HAND)
def test_a_smoothing_gives_what_pencil_and_paper_give(name):
    model = model_of([[A, B], [A, B], [A, C]], 5, order=2, smoothing=SMOOTHINGS[name])
    found = after(model, [BOS, A])[[B, C, EOS]].tolist()
    assert found == pytest.approx(BY_HAND[name], abs=1e-6)


@pytest.mark.parametrize("order", [1, 2, 4, 7])
@pytest.mark.parametrize("name", SMOOTHINGS)
def test_probabilities_sum_to_one_after_any_context(name, order):
    documents = made_up()
    model = model_of(documents, 30, order=order, smoothing=SMOOTHINGS[name])
    contexts = [
        [BOS],
        *[[BOS, *document] for document in documents[:20]],
        [5, 29, 3],
        [29],
        [BOS, 3, 3, 3, 3],
    ]
    for context in contexts:
        found = after(model, context)
        assert float(found.sum()) == pytest.approx(1, abs=2e-6)
        assert found[BOS] == 0


@pytest.mark.parametrize(
    "pruning", [{"counts": (0, 1)}, {"counts": (0, 0, 2)}, {"entropy": 1e-3}, {"entropy": 1.0}], ids=str
)
@pytest.mark.parametrize("name", [name for name in SMOOTHINGS if name != "additive"])
def test_pruning_keeps_sums_at_one(name, pruning):
    documents = made_up()
    settings = {"order": 4, "smoothing": SMOOTHINGS[name]}
    whole = model_of(documents, 30, **settings)
    pruned = model_of(documents, 30, **settings, pruning=PruningConfig(**pruning))
    assert pruned.tables.sizes[0] == 30 and pruned.tables.sizes.sum() < whole.tables.sizes.sum()
    for context in [[BOS], *[[BOS, *document] for document in documents[:20]]]:
        assert float(after(pruned, context).sum()) == pytest.approx(1, abs=5e-6)


def test_pruning_by_entropy_drops_what_costs_least():
    documents = made_up(2000)
    costs = []
    for entropy in (0.0, 1e-5, 1e-3):
        model = model_of(documents, 30, order=3, pruning=PruningConfig(entropy=entropy))
        nats = -sum(
            float(after(model, [BOS, *document[:2]]).log()[document[2]])
            for document in documents[:300]
            if len(document) > 2
        )
        costs.append((int(model.tables.sizes.sum()), nats))
    assert costs[0][0] > costs[1][0] > costs[2][0]
    assert costs[0][1] <= costs[1][1] * 1.001 <= costs[2][1] * 1.01


def test_additive_smoothing_cannot_be_pruned():
    with pytest.raises(ValueError, match=r"model\.pruning: additive smoothing has no lower order"):
        model_of(made_up(), 30, smoothing=kinds.Additive(), pruning=PruningConfig(entropy=0.1))


@pytest.mark.parametrize(("order", "vocabulary"), [(3, 30), (5, 30), (7, 30), (5, 200_000)])
def test_counting_in_runs_on_disk_equals_counting_at_once(order, vocabulary):
    documents = made_up(9000)
    parts = [piece(documents[begin : begin + 500]) for begin in range(0, 9000, 500)]
    at_once = count(parts, order, vocabulary, BOS, memory_mb=100)
    in_runs = count(parts, order, vocabulary, BOS, memory_mb=1)
    one_piece = count([piece(documents)], order, vocabulary, BOS, memory_mb=1)
    for name in ("sizes", "words", "starts", "counts"):
        assert np.array_equal(getattr(at_once, name), getattr(in_runs, name)), name
        assert np.array_equal(getattr(at_once, name), getattr(one_piece, name)), name


@pytest.mark.parametrize("order", [1, 2, 5, 7])
def test_counts_are_those_of_a_dictionary(order):
    documents = made_up(200)
    expected = {}
    for document in documents:
        words = (BOS, *document, EOS)
        for end in range(2, len(words) + 1):
            for length in range(1, order + 1):
                if end - length >= 0:
                    gram = words[end - length : end]
                    expected[gram] = expected.get(gram, 0) + 1
    counted = count([piece(documents)], order, 30, BOS)
    found = {}
    for node in range(len(counted.words)):
        gram, one = [counted.words[node]], node
        while one >= 30:
            one = int(np.searchsorted(counted.starts[:-1], one, side="right")) - 1
            gram.append(counted.words[one])
        if counted.counts[node]:
            found[tuple(map(int, gram))] = int(counted.counts[node])
    assert found == expected


def test_what_counts_leave_undefined_is_said_and_replaced():
    said = []
    model = model_of([[A, B, C]], 6, order=3, say=said.append)
    assert any("order 1: n-grams occur" in text and "(0.5, 1.0, 1.5) are used" in text for text in said)
    assert float(after(model, [BOS, A]).sum()) == pytest.approx(1, abs=1e-6)
    assert after(model, [BOS, A])[5] > 0


def test_an_order_longer_than_any_document_is_refused():
    with pytest.raises(
        ValueError, match=r"model.order=7: no document has so many tokens.* set model.order=4 or less"
    ):
        model_of([[A, B], [A]], 5, order=7)


def test_nothing_to_count_is_refused():
    with pytest.raises(ValueError, match="there is no document to count"):
        learn(NgramConfig(), [], 5, MARKS)


def test_an_id_outside_the_vocabulary_is_refused():
    model = model_of([[A, B]], 5, order=2)
    with pytest.raises(ValueError, match="id 5 is outside a vocabulary of 5"):
        model(torch.tensor([[5]]))


@pytest.mark.parametrize("name", ["modified_kneser_ney_found", "additive", "good_turing"])
def test_the_path_of_a_token_adds_up_to_its_cost(name):
    documents = made_up()
    model = model_of(documents, 30, order=4, smoothing=SMOOTHINGS[name])
    orders = set()
    for document in documents[:30]:
        for token in (document[-1], 17, 25):
            context = [BOS, *document[:-1]]
            steps = model.path(context, token)
            assert [step.answered for step in steps] == [False] * (len(steps) - 1) + [True]
            expected = -math.log(float(after(model, context)[token]))
            assert sum(step.nats for step in steps) == pytest.approx(expected, abs=1e-5)
            orders.add(steps[-1].order)
    assert len(orders) > 1


def test_weights_found_on_held_out_occurrences_are_better_than_a_guess():
    documents, held_out = made_up(3000), made_up(300, seed=1)
    found = {}
    for name in ("additive", "jelinek_mercer", "jelinek_mercer_found"):
        model = model_of(documents, 30, order=4, smoothing=SMOOTHINGS[name])
        found[name] = sum(step.nats for doc in held_out for step in model.path([BOS, *doc[:-1]], doc[-1]))
    assert found["jelinek_mercer_found"] < found["jelinek_mercer"] < found["additive"]


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_one_mark_for_begin_and_end_counts_as_two_do(smoothing):
    documents, vocabulary = made_up(), 30
    config = NgramConfig(order=3, smoothing=SMOOTHINGS[smoothing])
    # The same words; a begin mark of its own has the id behind all others and never follows anything.
    one, two = config.build(vocabulary), config.build(vocabulary + 1)
    fit(one, [piece(documents)], (EOS, EOS), str)
    fit(two, [piece(documents)], (vocabulary, EOS), str)
    asked = [[*document, EOS] for document in documents[:20]]
    for ids in asked:
        nats = []
        for model, begin in ((one, EOS), (two, vocabulary)):
            read = torch.tensor([[begin, *ids[:-1]]])
            nats.append(model(read, ask=Targets(torch.tensor([ids]))).values)
        torch.testing.assert_close(nats[0], nats[1], rtol=1e-5, atol=1e-5)
