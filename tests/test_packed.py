"""Weights laid out for the processor give the same values, until they change."""

import pytest
import torch

from members import MEMBERS, VOCABULARY
from rootlm.layers.linear import Linear
from rootlm.layers.packed import pack
from rootlm.models.interface import Last


@pytest.mark.parametrize("name", ["gpt2", "qwen3", "grouped", "mixture"])
@torch.no_grad()
def test_packed_reads_as_plain(name):
    plain, packed = (MEMBERS[name]().to(torch.bfloat16) for _ in range(2))
    linears = sum(isinstance(part, Linear) for part in packed.modules())
    router = sum(name.endswith("router") for name, _ in packed.named_modules())
    assert pack(packed) == linears and linears > router
    tokens = torch.randint(0, VOCABULARY, (3, 9))
    given, expected = (model(tokens).values.float() for model in (packed, plain))
    torch.testing.assert_close(given, expected, rtol=0.05, atol=0.15)
    state = packed(tokens, packed.begin(3)).state
    step = packed(tokens[:, :1], state, ask=Last()).values.float()
    torch.testing.assert_close(
        step, plain(torch.cat([tokens, tokens[:, :1]], 1), ask=Last()).values.float(), rtol=0.05, atol=0.15
    )


@torch.no_grad()
def test_changed_weights_are_used_at_once():
    part = Linear(32, 16, bias=False).to(torch.bfloat16)
    x = torch.randn(2, 32, dtype=torch.bfloat16)
    assert pack(part) == 1
    part.weight.mul_(2)
    assert torch.equal(part(x), torch.nn.functional.linear(x, part.weight))


def test_with_gradients_the_plain_product_is_taken():
    part = Linear(32, 16, bias=False).to(torch.bfloat16)
    pack(part)
    part(torch.randn(2, 32, dtype=torch.bfloat16)).sum().backward()
    assert part.weight.grad is not None
