"""The chunked cross-entropy against torch's own, in value, gradient and memory."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rootlm.layers import cross_entropy
from rootlm.layers.cross_entropy import Costs, negative_log_likelihood, ranks
from rootlm.layers.linear import Linear

ROWS, WIDTH, VOCABULARY = 37, 16, 101
COSTS = {
    "plain": Costs(),
    "smoothed": Costs(label_smoothing=0.1),
    "z": Costs(z_loss=1e-2),
    "both": Costs(label_smoothing=0.2, z_loss=1e-3),
}


@pytest.fixture(params=[1, 5, ROWS - 1, ROWS, 1000], ids=lambda rows: f"{rows} rows a chunk")
def chunk(request, monkeypatch):
    monkeypatch.setattr(cross_entropy, "CHUNK_VALUES", request.param * VOCABULARY)
    return request.param


@pytest.fixture(params=COSTS)
def costs(request):
    return COSTS[request.param]


def case(dtype=torch.float32, seed=0, bias=True):
    torch.manual_seed(seed)
    head = Linear(WIDTH, VOCABULARY, bias=bias)
    nn.init.normal_(head.weight, std=0.5)
    hidden = torch.randn(ROWS, WIDTH, dtype=dtype, requires_grad=True)
    ids = torch.randint(0, VOCABULARY, (ROWS,))
    ids[::7] = -1
    weights = torch.rand(ROWS) * (torch.rand(ROWS) > 0.2)
    return head, hidden, ids, weights


def formula(head, hidden, ids, costs):
    """What the module promises, in plain words of torch."""
    logits = F.linear(hidden.float(), head.weight.float(), None if head.bias is None else head.bias.float())
    asked = ids >= 0
    nats = F.cross_entropy(logits, ids.clamp(min=0), reduction="none", label_smoothing=costs.label_smoothing)
    return (nats + costs.z_loss * logits.logsumexp(-1).square()) * asked


def pull(values, weights, *leaves):
    return torch.autograd.grad((values * weights).sum(), leaves)


def test_it_equals_torch_in_value_and_gradient(chunk, costs):
    head, hidden, ids, weights = case()
    leaves = (hidden, *head.parameters())
    expected = formula(head, hidden, ids, costs)
    found = negative_log_likelihood(head, hidden, ids, costs, weights)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for one, other in zip(pull(found, weights, *leaves), pull(expected, weights, *leaves), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_it_equals_torch_without_a_gradient(chunk, costs):
    head, hidden, ids, _ = case()
    with torch.no_grad():
        found = negative_log_likelihood(head, hidden, ids, costs)
        torch.testing.assert_close(found, formula(head, hidden, ids, costs), rtol=1e-5, atol=1e-5)


def test_a_wrong_hint_of_weights_costs_time_but_no_exactness(chunk, costs):
    head, hidden, ids, weights = case()
    leaves = (hidden, *head.parameters())
    expected = pull(formula(head, hidden, ids, costs), weights, *leaves)
    for hint in (None, torch.rand(ROWS), torch.zeros(ROWS), weights * 3):
        found = pull(negative_log_likelihood(head, hidden, ids, costs, hint), weights, *leaves)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_right_hint_makes_the_logits_once(chunk, monkeypatch):
    head, hidden, ids, weights = case()
    made = []
    costs = cross_entropy._costs
    monkeypatch.setattr(cross_entropy, "_costs", lambda *given: made.append(len(given[0])) or costs(*given))
    pull(negative_log_likelihood(head, hidden, ids, Costs(), weights), 0.25 * weights, hidden)
    assert sum(made) == ROWS


def test_ignored_ids_cost_nothing_and_pull_nothing(costs):
    head, hidden, _, weights = case()
    ids = torch.full((ROWS,), -1)
    found = negative_log_likelihood(head, hidden, ids, costs, weights)
    assert not found.any()
    assert not any(gradient.any() for gradient in pull(found, weights, hidden, *head.parameters()))


def test_bfloat16_is_right_within_its_own_rounding(chunk, costs):
    head, hidden, ids, weights = case(torch.bfloat16)
    leaves = (hidden, *head.parameters())
    expected = formula(head, hidden, ids, costs)
    found = negative_log_likelihood(head, hidden, ids, costs, weights)
    assert found.dtype == torch.float32
    # Logits of a few units are rounded to 8 bits each.
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0.05)
    assert abs(float((found.sum() / expected.sum()).detach()) - 1) < 2e-3
    for one, other in zip(pull(found, weights, *leaves), pull(expected, weights, *leaves), strict=True):
        assert one.dtype == other.dtype
        assert (one.float() - other.float()).norm() < 0.02 * other.float().norm()


def test_a_tied_head_gathers_both_gradients():
    torch.manual_seed(0)
    table = nn.Parameter(torch.randn(VOCABULARY, WIDTH) * 0.3)
    head = Linear(WIDTH, VOCABULARY, bias=False)
    head.weight = table
    tokens, ids = torch.randint(0, VOCABULARY, (2, ROWS))
    expected = F.cross_entropy(F.linear(table[tokens].tanh(), table), ids, reduction="sum")
    (wanted,) = torch.autograd.grad(expected, table)
    (found,) = torch.autograd.grad(negative_log_likelihood(head, table[tokens].tanh(), ids).sum(), table)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_frozen_head_still_gives_the_gradient_of_what_it_reads():
    head, hidden, ids, weights = case()
    expected = pull(formula(head, hidden, ids, Costs()), weights, hidden)
    head.requires_grad_(False)
    found = pull(negative_log_likelihood(head, hidden, ids, Costs(), weights), weights, hidden)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_it_never_holds_all_logits(monkeypatch, training):
    """Neither the head nor any other operation makes a tensor as large as tokens times vocabulary."""
    from torch.utils._python_dispatch import TorchDispatchMode

    monkeypatch.setattr(cross_entropy, "CHUNK_VALUES", 4 * VOCABULARY)
    head, hidden, ids, weights = case()
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            made = func(*args, **(kwargs or {}))
            for tensor in made if isinstance(made, tuple | list) else (made,):
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return made

    with Watch(), torch.set_grad_enabled(training):
        nats = negative_log_likelihood(head, hidden, ids, Costs(0.1, 1e-3), weights)
        if training:
            pull(nats, weights, hidden, *head.parameters())
        else:
            ranks(head, hidden, ids)
    assert largest <= max(4 * VOCABULARY, WIDTH * VOCABULARY)
    assert largest < ROWS * VOCABULARY


def test_ranks_count_the_likelier_ids(chunk):
    head, hidden, ids, _ = case()
    with torch.no_grad():
        found = ranks(head, hidden, ids)
        logits = head(hidden)
    for row, token in enumerate(ids.tolist()):
        if token < 0:
            assert found[row].tolist() == [0, 0]
        else:
            assert found[row, 1] == int((logits[row] > logits[row, token]).sum())
            assert found[row, 0] == pytest.approx(float(-logits[row].log_softmax(-1)[token]), rel=1e-4)
