"""A large matrix with a few vectors: compiled products are torch's, and a row's do not depend on its neighbours."""

import pytest
import torch
from torch.nn import functional as F

from rootlm.layers import few_vectors, teams
from rootlm.layers.linear import Linear

LARGE = {torch.float32: (1001, 517), torch.bfloat16: (4099, 2053)}


def large(dtype):
    """Return a map just large enough, and eight vectors."""
    generator = torch.Generator().manual_seed(0)
    rows, width = LARGE[dtype]
    linear = Linear(width, rows, bias=True).to(dtype)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(rows, width, generator=generator) * width**-0.5)
        linear.bias.copy_(torch.randn(rows, generator=generator))
    return linear, torch.randn(few_vectors.MOST, 1, width, generator=generator).to(dtype)


@pytest.mark.parametrize("dtype", LARGE, ids=str)
@torch.inference_mode()
def test_it_is_the_product_and_a_row_has_the_same_bits_alone(dtype, monkeypatch):
    linear, x = large(dtype)
    asked = []
    made = few_vectors.multiplied
    monkeypatch.setattr(few_vectors, "multiplied", lambda *given: asked.append(len(given[0])) or made(*given))
    together = linear(x)
    expected = F.linear(x.double(), linear.weight.double(), linear.bias.double())
    close = 1e-6 if dtype == torch.float32 else 5e-3
    assert together.dtype == dtype and (together - expected).norm() <= close * expected.norm()
    for threads in (1, 3):
        monkeypatch.setattr(teams, "size", lambda threads=threads: threads)
        for row in range(len(x)):
            assert torch.equal(linear(x[row]), together[row])
    assert asked == [len(x), *[1] * 2 * len(x)]


def test_all_else_is_left_to_torch():
    linear, x = large(torch.float32)
    weight = linear.weight
    with torch.no_grad():
        assert few_vectors.pays(x, weight)
        assert not few_vectors.pays(torch.cat([x, x[:1]]), weight)
        assert not few_vectors.pays(x.bfloat16(), weight)
        assert not few_vectors.pays(x.double(), weight.double())
        assert not few_vectors.pays(x, weight[: len(weight) // 2])
        assert not few_vectors.pays(x[..., :1001], torch.randn(517, 1001).t()[:, :1001])
        with torch.autocast("cpu", torch.bfloat16):
            assert not few_vectors.pays(x, weight)
    assert not few_vectors.pays(x, weight)
    assert linear(x).requires_grad
