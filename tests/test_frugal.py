"""What is kept sparingly on a CPU gives torch's own values and gradients, and writes into nobody's tensors."""

import pytest
import torch
from torch.nn import functional as F

from rootlm.layers.frugal import gated, rms_norm


def plain_norm(x, weight):
    return F.rms_norm(x, (x.shape[-1],), weight.to(x.dtype), 1e-5)


def plain_gate(streams, _):
    gate, value = streams.chunk(2, -1)
    return F.silu(gate) * value


PAIRS = {
    "norm": (lambda x, weight: rms_norm(x, weight, 1e-5), plain_norm),
    "gate": (lambda x, _: gated(x), plain_gate),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", PAIRS)
def test_values_and_gradients_are_torchs(name, dtype):
    generator = torch.Generator().manual_seed(0)
    found = []
    given = torch.randn(3, 5, 16, generator=generator).to(dtype)
    scale, upstream = (
        torch.randn(16, generator=generator),
        torch.randn(3, 5, 16, generator=generator).to(dtype),
    )
    for function in PAIRS[name]:
        x, weight = given.clone().requires_grad_(), scale.clone().requires_grad_()
        other = torch.zeros_like(given).requires_grad_()
        made = function(x, weight)
        width = made.shape[-1]
        # Read twice and beside another reader, as a residual stream is.
        total = made + function(x, weight) + other[..., :width] + x[..., :width]
        total.backward(upstream[..., :width], retain_graph=True)
        total.backward(upstream[..., :width])
        assert torch.equal(x.detach(), given)
        found.append([made.detach(), x.grad, other.grad, *([weight.grad] if name == "norm" else [])])
    near = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 0.03, "atol": 0.05}
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **near)


@pytest.mark.parametrize("name", PAIRS)
def test_a_gradient_that_is_one_number_spread_out_is_taken(name):
    x, weight = torch.randn(2, 3, 8).requires_grad_(), torch.ones(8).requires_grad_()
    PAIRS[name][0](x, weight).sum().backward()
    again = x.detach().clone().requires_grad_()
    PAIRS[name][1](again, weight).sum().backward()
    torch.testing.assert_close(x.grad, again.grad)


@pytest.mark.parametrize("name", PAIRS)
def test_a_gradient_of_a_gradient_is_refused(name):
    x, weight = torch.randn(2, 3, 8).requires_grad_(), torch.ones(8).requires_grad_()
    (slope,) = torch.autograd.grad(PAIRS[name][0](x, weight).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="twice"):
        slope.sum().backward()
