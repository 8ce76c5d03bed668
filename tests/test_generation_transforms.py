"""Laws of the logits transforms, and parity with those of transformers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import generation as reference

from rootlm.generation import transforms as ours
from rootlm.generation.sampling import Sampling
from rootlm.generation.transforms import History

VOCAB = 300
PROMPTS = [[5, 9, 9, 11], [3], [7, 250]]
WRITTEN = [[1, 1, 1, 40], [5, 5], []]


@pytest.fixture(params=[0, 1, 2])
def logits(request):
    generator = torch.Generator().manual_seed(request.param)
    return torch.randn(3, VOCAB, generator=generator) * (1 + 2 * request.param)


def history():
    return History(PROMPTS, [list(row) for row in WRITTEN], VOCAB, torch.device("cpu"))


PAIRS = {
    "temperature": (ours.Temperature(0.7), reference.TemperatureLogitsWarper(0.7)),
    "top_k": (ours.TopK(17), reference.TopKLogitsWarper(17)),
    "top_k_wide": (ours.TopK(1000), reference.TopKLogitsWarper(1000)),
    "top_p": (ours.TopP(0.9), reference.TopPLogitsWarper(0.9)),
    "top_p_wide": (ours.TopP(0.999), reference.TopPLogitsWarper(0.999)),
    "top_p_narrow": (ours.TopP(0.01), reference.TopPLogitsWarper(0.01)),
    "min_p": (ours.MinP(0.05), reference.MinPLogitsWarper(0.05)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_transform_equals_the_one_of_transformers(name, logits):
    mine, theirs = PAIRS[name]
    torch.testing.assert_close(mine(logits, history()), theirs(None, logits.clone()), rtol=1e-6, atol=1e-6)


def test_the_repetition_penalty_equals_the_one_of_transformers(logits):
    theirs = reference.RepetitionPenaltyLogitsProcessor(1.3)
    mine = ours.RepetitionPenalty(1.3)(logits, history())
    for row in range(3):
        ids = torch.tensor([PROMPTS[row] + WRITTEN[row]])
        torch.testing.assert_close(mine[row : row + 1], theirs(ids, logits[row : row + 1].clone()))


def test_frequency_and_presence_count_the_new_text_only():
    logits = torch.zeros(3, VOCAB)
    frequency = ours.FrequencyPenalty(0.5)(logits, history())
    presence = ours.PresencePenalty(0.5)(logits, history())
    assert frequency[0, [1, 40, 9]].tolist() == [-1.5, -0.5, 0.0]
    assert presence[0, [1, 40, 9]].tolist() == [-0.5, -0.5, 0.0]
    assert presence[2].abs().sum() == 0


def test_a_history_counted_late_equals_one_counted_all_along():
    early = history()
    _ = early.said, early.seen
    late = history()
    for held in (early, late):
        for token in (4, 4, 8):
            held.add(torch.tensor([token] * 3))
            for row in held._written:
                row.append(token)
    early, late = early.select([2, 0]), late.select([2, 0])
    assert torch.equal(early.said, late.said)
    assert torch.equal(early.seen, late.seen)
    assert late.said[1, 1] == 3 and late.said[0, 4] == 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=600),
    st.floats(0.01, 1.0),
    st.integers(1, 700),
    st.floats(0.001, 1.0),
)
def test_the_likeliest_token_always_remains(row, p, k, min_p):
    logits = torch.tensor([row])
    for transform in (ours.TopP(p), ours.TopK(k), ours.MinP(min_p)):
        left = transform(logits, history())
        assert left.max() == logits.max()
        assert left.argmax() == logits.argmax()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-800, 800), min_size=2, max_size=600, unique=True), st.floats(0.05, 0.99))
def test_top_p_keeps_the_fewest_tokens_that_hold_the_share(row, p):
    logits = torch.tensor([row]) / 100
    kept = ours.TopP(p)(logits, history())[0] > -math.inf
    shares = logits[0].double().softmax(-1)
    assert shares[kept].sum() >= p - 1e-5
    assert shares[kept].sum() - shares[kept].min() < p + 1e-5


def test_ties_are_kept_together():
    left = ours.TopP(0.5)(torch.tensor([[1.0, 1.0, 1.0, -9.0]]), history())
    assert (left > -math.inf).tolist() == [[True, True, True, False]]


def test_default_settings_change_nothing():
    assert ours.from_settings(Sampling()) == []
    assert ours.from_settings(Sampling(temperature=0)) == []


def test_the_order_is_that_of_transformers():
    asked = Sampling(
        temperature=0.5,
        top_k=5,
        top_p=0.9,
        min_p=0.1,
        repetition_penalty=1.2,
        frequency_penalty=1,
        presence_penalty=1,
    )
    assert [type(step).__name__ for step in ours.from_settings(asked)] == [
        "RepetitionPenalty", "FrequencyPenalty", "PresencePenalty", "Temperature", "TopK", "TopP", "MinP"
    ]  # fmt: skip


def test_banned_tokens_have_no_probability(logits):
    left = ours.Banned.ids([3, 7], VOCAB, torch.device("cpu"))(logits, history()).softmax(-1)
    assert (left[:, [3, 7]] == 0).all()
    assert (left[:, 8] > 0).all()
