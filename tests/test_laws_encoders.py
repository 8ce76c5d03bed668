"""The laws of encoders, for every member."""

import pytest
import torch

from encoders import ENCODERS, build_encoder
from members import CONTEXT, VOCABULARY
from rootlm.models.catalog import load_model, save_model
from rootlm.models.interface import All, Ranks, Targets

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
RAGGED = [(17, 4, 9), (5, 1, 6), (17, 17, 17), (1, 1, 1)]


@pytest.fixture(params=ENCODERS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return build_encoder(name)


@pytest.fixture
def tokens():
    return torch.randint(0, VOCABULARY, (3, 17), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_future_changes_the_past(model, tokens):
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % VOCABULARY
    before, after = model(tokens), model(changed)
    assert (before - after).abs().amax(-1).min() > 1e-6


@torch.no_grad()
@pytest.mark.parametrize("lengths", RAGGED)
def test_rows_do_not_see_each_other_nor_their_padding(model, tokens, lengths):
    together = model(tokens, torch.tensor(lengths))
    assert together.isfinite().all()
    for row, length in enumerate(lengths):
        alone = model(tokens[row : row + 1, :length])[0]
        torch.testing.assert_close(together[row, :length], alone, **CLOSE)


@torch.no_grad()
def test_segments_are_separate_texts(model, tokens):
    segments = torch.tensor([[4] * 6 + [5] * 11, [4] * 17, [4] + [7] * 16])
    packed = model(tokens, segments=segments)
    for row, cut in ((0, 6), (2, 1)):
        for part in (slice(0, cut), slice(cut, 17)):
            alone = model(tokens[row : row + 1, part])[0]
            torch.testing.assert_close(packed[row, part], alone, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("lengths", RAGGED)
def test_unpadded_equals_padded(name, tokens, lengths):
    padded, unpadded = (build_encoder(name, unpadded=choice) for choice in (False, True))
    lengths = torch.tensor(lengths)
    segments = torch.tensor([[0] * 3 + [1] * 14, [0] * 17, [2] * 8 + [3] * 9])
    real = torch.arange(17) < lengths[:, None]
    types = tokens % 2
    expected = padded(tokens, lengths, segments, types=types)[real]
    torch.testing.assert_close(unpadded(tokens, lengths, segments, types=types)[real], expected, **CLOSE)


@torch.no_grad()
def test_targets_and_ranks_equal_the_same_places_of_all(model, tokens):
    hidden = model(tokens)
    logits = model.predict(hidden, All())
    assert logits.std() > 0.3
    nats = -logits.log_softmax(-1).gather(2, tokens[..., None])[..., 0]
    torch.testing.assert_close(model.predict(hidden, Targets(tokens)), nats, **CLOSE)
    ranked = model.predict(hidden, Ranks(tokens))
    torch.testing.assert_close(ranked[..., 0], nats, **CLOSE)
    assert torch.equal(ranked[..., 1] == 0, logits.argmax(-1) == tokens)


@torch.no_grad()
def test_save_and_load_change_nothing(name, tokens, tmp_path):
    model = build_encoder(name, heads={"kind": 3}, pooler="mean")
    save_model(model, tmp_path)
    opened = load_model(tmp_path)
    hidden = model(tokens)
    assert torch.equal(opened(tokens), hidden)
    assert torch.equal(opened.predict(hidden), model.predict(hidden))
    assert torch.equal(opened.tell("kind", hidden), model.tell("kind", hidden))


def test_gradients_of_packed_texts_equal_those_of_separate_ones(model, tokens):
    wanted = tokens.roll(1, 1)[:1]
    segments = torch.tensor([[0] * 7 + [1] * 10])

    def gradients(losses):
        model.zero_grad()
        sum(losses).backward()
        return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]

    def loss(part, segments=None):
        return model.predict(model(tokens[:1, part], segments=segments), Targets(wanted[:, part])).sum()

    packed = gradients([loss(slice(0, 17), segments)])
    separate = gradients([loss(slice(0, 7)), loss(slice(7, 17))])
    for one, other in zip(packed, separate, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_more_than_the_context_is_refused_by_name(model):
    with pytest.raises(ValueError, match=f"{CONTEXT + 1} tokens do not fit a context of {CONTEXT}"):
        model(torch.zeros(1, CONTEXT + 1, dtype=torch.int64))


def test_a_head_that_is_not_there_is_refused_with_the_remedy(model, tokens):
    with pytest.raises(ValueError, match=r"no head mood; set model\.heads\.mood"):
        model.tell("mood", model(tokens))


def test_heads_without_a_pooler_are_refused():
    with pytest.raises(ValueError, match="heads mood need a pooler; set pooler to cls or mean"):
        ENCODERS["bert"].__class__(heads={"mood": 2}, pooler="none")
