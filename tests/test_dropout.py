"""Dropout: how many values go, what becomes of the others, and that a seed says which."""

import pytest
import torch

from rootlm.layers.dropout import Dropout, dropout


def dropped(share, seed=1, size=200_001):
    torch.manual_seed(seed)
    x = torch.ones(size, requires_grad=True)
    out = Dropout(share).train()(x)
    out.sum().backward()
    return out.detach(), x.grad


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_a_share_goes_and_the_rest_makes_up_for_it(share):
    out, gradient = dropped(share)
    assert torch.equal(out, gradient)
    assert float((out == 0).float().mean()) == pytest.approx(share, abs=4 * (share / 200_001) ** 0.5)
    assert out.max() == pytest.approx(1 / (1 - share), rel=1e-3)
    assert len(out.unique()) == 2


def test_values_that_share_a_drawn_word_go_independently():
    gone = (dropped(0.5, size=200_000)[0] == 0).float().view(-1, 4)
    among = torch.corrcoef(gone.T) - torch.eye(4)
    assert among.abs().max() < 0.02


def test_a_seed_says_which_values_go():
    assert torch.equal(dropped(0.3)[0], dropped(0.3)[0])
    assert not torch.equal(dropped(0.3)[0], dropped(0.3, seed=2)[0])


@pytest.mark.parametrize("share", [0.0, 1e-7, 1.0])
def test_the_ends_of_the_scale(share):
    x = torch.randn(5, 7, dtype=torch.bfloat16)
    torch.testing.assert_close(Dropout(share).train()(x), x * (share < 0.5))


def test_nothing_goes_outside_of_training():
    x = torch.randn(3, 5)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(dropout(0.0).train()(x), x)
    assert Dropout(0.5).train()(x[:, ::2]).shape == (3, 3)
