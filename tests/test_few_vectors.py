"""A large matrix with a few vectors: compiled products are torch's, and a row's do not depend on its neighbours."""

import torch
from torch.nn import functional as F

from rootlm.layers import few_vectors, teams
from rootlm.layers.linear import Linear


def large():
    """Return a map just large enough, and eight vectors."""
    generator = torch.Generator().manual_seed(0)
    rows, width = 1001, 517
    linear = Linear(width, rows, bias=True)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(rows, width, generator=generator) * width**-0.5)
        linear.bias.copy_(torch.randn(rows, generator=generator))
    return linear, torch.randn(few_vectors.MOST, 1, width, generator=generator)


@torch.inference_mode()
def test_it_is_the_product_and_a_row_has_the_same_bits_alone(monkeypatch):
    linear, x = large()
    asked = []
    made = few_vectors.multiplied
    monkeypatch.setattr(few_vectors, "multiplied", lambda *given: asked.append(len(given[0])) or made(*given))
    together = linear(x)
    expected = F.linear(x.double(), linear.weight.double(), linear.bias.double())
    assert together.dtype == torch.float32 and (together - expected).norm() <= 1e-6 * expected.norm()
    for threads in (1, 3):
        monkeypatch.setattr(teams, "size", lambda threads=threads: threads)
        for row in range(len(x)):
            assert torch.equal(linear(x[row]), together[row])
    assert asked == [len(x), *[1] * 2 * len(x)]


def test_all_else_is_left_to_torch():
    linear, x = large()
    weight = linear.weight
    with torch.no_grad():
        assert few_vectors.pays(x, weight)
        assert not few_vectors.pays(torch.cat([x, x[:1]]), weight)
        assert not few_vectors.pays(x.bfloat16(), weight)
        assert not few_vectors.pays(x.bfloat16(), weight.bfloat16())
        assert not few_vectors.pays(x.double(), weight.double())
        assert not few_vectors.pays(x, weight[: len(weight) // 2])
        assert not few_vectors.pays(x[..., :1001], torch.randn(517, 1001).t()[:, :1001])
        with torch.autocast("cpu", torch.bfloat16):
            assert not few_vectors.pays(x, weight)
    assert not few_vectors.pays(x, weight)
    assert linear(x).requires_grad
