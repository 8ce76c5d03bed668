"""The laws of language models, for every member."""

import pytest
import torch

from members import CONTEXT, LIMITED, MEMBERS, TRAINED, VOCABULARY, heard
from rootlm.models.catalog import load_model, save_model
from rootlm.models.interface import All, Last, Ranks, Targets

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(params=MEMBERS)
def model(request):
    return MEMBERS[request.param]()


@pytest.fixture
def tokens():
    return torch.randint(0, VOCABULARY, (3, 17), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_reading_in_parts_equals_reading_at_once(model, tokens):
    whole = model(tokens).values
    for cut in (1, 7, 16):
        first = model(tokens[:, :cut], model.begin(3))
        second = model(tokens[:, cut:], first.state)
        torch.testing.assert_close(torch.cat([first.values, second.values], 1), whole, **CLOSE)


@torch.no_grad()
def test_reading_token_by_token_equals_reading_at_once(model, tokens):
    state, parts = model.begin(3, capacity=4), []
    for place in range(tokens.shape[1]):
        values, state, *_ = model(tokens[:, place : place + 1], state, ask=Last(1))
        parts.append(values)
    torch.testing.assert_close(torch.cat(parts, 1), model(tokens).values, **CLOSE)


@torch.no_grad()
def test_segmented_reading_in_parts_equals_reading_at_once(model, tokens):
    segments = torch.tensor([[0] * 5 + [1] * 6 + [2] * 6, [0] * 17, [3] * 1 + [4] * 16])
    whole = model(tokens, segments=segments).values
    for cut in (1, 5, 8, 11):
        first = model(tokens[:, :cut], model.begin(3), segments=segments[:, :cut])
        second = model(tokens[:, cut:], first.state, segments=segments[:, cut:])
        torch.testing.assert_close(torch.cat([first.values, second.values], 1), whole, **CLOSE)


@torch.no_grad()
def test_targets_last_and_ranks_equal_the_same_places_of_all(model, tokens):
    ids = tokens.roll(-1, 1).clone()
    ids[0, 3] = -1
    logits = model(tokens, ask=All()).values
    torch.testing.assert_close(model(tokens, ask=Last(2)).values, logits[:, -2:], **CLOSE)
    expected = -logits.log_softmax(-1).gather(2, ids.clamp(min=0)[:, :, None])[:, :, 0] * (ids >= 0)
    torch.testing.assert_close(model(tokens, ask=Targets(ids)).values, expected, **CLOSE)
    ranked = model(tokens, ask=Ranks(ids)).values
    torch.testing.assert_close(ranked[:, :, 0], expected, **CLOSE)
    best = (logits.argmax(-1) == ids) & (ids >= 0)
    assert torch.equal((ranked[:, :, 1] == 0) & (ids >= 0), best)


@torch.no_grad()
def test_last_counts_back_from_the_length_of_a_row(model, tokens):
    lengths = torch.tensor([17, 9, 1])
    logits = model(tokens).values
    last = model(tokens, lengths=lengths, ask=Last(1)).values[:, 0]
    torch.testing.assert_close(last, logits[torch.arange(3), lengths - 1], **CLOSE)


@torch.no_grad()
def test_the_future_cannot_change_the_past(model, tokens):
    changed = tokens.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % VOCABULARY
    torch.testing.assert_close(model(changed).values[:, :9], model(tokens).values[:, :9], **CLOSE)
    assert not torch.allclose(model(changed).values[:, 9:], model(tokens).values[:, 9:])


@torch.no_grad()
def test_rows_do_not_see_each_other_with_ragged_prompts(model, tokens):
    lengths = torch.tensor([4, 17, 9])
    state = model(tokens, model.begin(3), lengths=lengths).state
    assert state.lengths.tolist() == [4, 17, 9]
    following = torch.randint(0, VOCABULARY, (3, 5), generator=torch.Generator().manual_seed(2))
    together = model(following, state).values
    for row, length in enumerate(lengths.tolist()):
        alone = model(torch.cat([tokens[row, :length], following[row]])[None]).values[0, length:]
        torch.testing.assert_close(together[row], alone, **CLOSE)


@torch.no_grad()
def test_segments_reset_at_document_borders(model, tokens):
    segments = torch.tensor([[0] * 6 + [1] * 11]).expand(3, -1)
    packed = model(tokens, segments=segments).values
    torch.testing.assert_close(packed[:, :6], model(tokens[:, :6]).values, **CLOSE)
    torch.testing.assert_close(packed[:, 6:], model(tokens[:, 6:]).values, **CLOSE)


@torch.no_grad()
def test_select_then_read_equals_read_then_select(model, tokens):
    rows = torch.tensor([2, 0, 0])
    lengths = torch.tensor([4, 17, 9])
    following = torch.randint(0, VOCABULARY, (3, 3), generator=torch.Generator().manual_seed(3))
    held = model(tokens, model.begin(3), lengths=lengths).state
    chosen = held.select(rows)
    expected = model(following, held).values[rows]
    torch.testing.assert_close(model(following[rows], chosen).values, expected, **CLOSE)


@torch.no_grad()
def test_joined_rows_read_as_they_would_apart(model, tokens):
    first = model(tokens[:1, :5], model.begin(1)).state
    second = model(tokens[1:], model.begin(2)).state
    following = tokens[:, :4].roll(1, 0)
    expected = torch.cat(
        [
            model(following[:1], first.select(torch.tensor([0]))).values,
            model(following[1:], second.select(torch.tensor([0, 1]))).values,
        ]
    )
    torch.testing.assert_close(model(following, first.join(second)).values, expected, **CLOSE)


@torch.no_grad()
def test_rewinding_forgets(model, tokens):
    state = model(tokens, model.begin(3)).state.rewind(torch.tensor([3, 0, 16]))
    following = tokens[:, :2].roll(1, 1)
    together = model(following, state).values
    for row, kept in enumerate((14, 17, 1)):
        alone = model(torch.cat([tokens[row, :kept], following[row]])[None]).values[0, kept:]
        torch.testing.assert_close(together[row], alone, **CLOSE)


@torch.no_grad()
def test_probabilities_sum_to_one(model, tokens):
    every = torch.arange(VOCABULARY)
    nats = model(tokens[:1, :4].expand(VOCABULARY, -1), ask=Targets(every[:, None].expand(-1, 4))).values
    torch.testing.assert_close((-nats).exp().sum(0), torch.ones(4), **CLOSE)


@torch.no_grad()
def test_save_and_load_change_nothing(model, tokens, tmp_path):
    save_model(model, tmp_path)
    opened = heard(load_model(tmp_path))
    assert torch.equal(opened(tokens).values, model(tokens).values)


@pytest.mark.parametrize("model", LIMITED, indirect=True)
def test_more_than_the_context_is_refused_by_name(model):
    with pytest.raises(ValueError, match=f"{CONTEXT + 1} tokens do not fit a context of {CONTEXT}"):
        model(torch.zeros(1, CONTEXT + 1, dtype=torch.int64))


@pytest.mark.parametrize("model", TRAINED, indirect=True)
def test_gradients_of_packed_documents_equal_those_of_separate_ones(model):
    torch.manual_seed(0)
    tokens = torch.randint(0, VOCABULARY, (1, 16))
    ids = torch.randint(0, VOCABULARY, (1, 16))
    segments = torch.tensor([[0] * 7 + [1] * 9])

    def gradients(losses):
        model.zero_grad()
        sum(losses).backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    packed = gradients([model(tokens, segments=segments, ask=Targets(ids)).values.sum()])
    separate = gradients(
        [
            model(tokens[:, part], ask=Targets(ids[:, part])).values.sum()
            for part in (slice(0, 7), slice(7, 16))
        ]
    )
    for one, other in zip(packed, separate, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
