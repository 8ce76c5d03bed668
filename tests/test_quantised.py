"""Weights in eight and four bits: rounded as GGUF rounds them, read everywhere as the matrices they stand for."""

from copy import deepcopy

import gguf
import numpy as np
import pytest
import torch
from numba import njit
from torch.nn import functional as F

from members import CONFIGS, MEMBERS, VOCABULARY, randomise
from rootlm.layers import product_kernel, teams, vector_kernel
from rootlm.layers.linear import Linear
from rootlm.layers.mixture import Mixture
from rootlm.layers.quantised import Quantised
from rootlm.layers.quantising import quantise
from rootlm.models.catalog import weights
from rootlm.models.interface import Last

BITS = ["int8", "int4"]
GGUF = {"int8": gguf.GGMLQuantizationType.Q8_0, "int4": gguf.GGMLQuantizationType.Q4_0}
TYPES = [torch.float32, torch.bfloat16]
_multiply = njit(**vector_kernel.OPTIONS)(product_kernel.multiply_part)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def written_out(network):
    """Put the matrices that blocks stand for back into a network, in float32."""
    for part in network.modules():
        if isinstance(part, Linear) and part.quantised is not None:
            part.weight = torch.nn.Parameter(part.quantised.matrix())
            part.quantised = None
    return network


@pytest.mark.parametrize("bits", BITS)
def test_numbers_are_those_of_the_gguf_package_and_are_rounded_once_only(bits):
    weight = random(7, 96)
    weight[3, :32] = 0
    held = Quantised(weight, bits)
    theirs = gguf.quantize(weight.numpy(), GGUF[bits])
    assert np.array_equal(held.blocks.numpy(), theirs)
    assert np.array_equal(held.matrix().numpy(), gguf.dequantize(theirs, GGUF[bits]))
    assert torch.equal(Quantised(held.matrix(), bits).blocks, held.blocks)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("vectors", [1, 3, 16, 17, 40])
@pytest.mark.parametrize("threads", [1, 3])
def test_few_and_many_vectors_meet_the_matrix(bits, dtype, vectors, threads, monkeypatch):
    monkeypatch.setattr(teams, "size", lambda: threads)
    # Large enough to be shared by threads and to be written out in parts, with a last part of its own.
    for rows, width in ((1030, 1056), (5, 32)):
        held, x = Quantised(random(rows, width), bits), random(vectors, width, seed=1).to(dtype)
        bias = random(rows, seed=2)
        with torch.inference_mode():
            found = held(x.view(vectors, 1, width), bias)
        expected = F.linear(x.float(), held.matrix(dtype).float(), bias)
        assert found.dtype == dtype and found.shape == (vectors, 1, rows)
        assert (found[:, 0] - expected).norm() <= (1e-6 if dtype == torch.float32 else 1e-2) * expected.norm()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("blocks", range(1, 6))
def test_compiled_sums_are_those_of_the_matrix_to_the_last_bit(bits, blocks):
    held, x = Quantised(random(6, 32 * blocks), bits), random(5, 32 * blocks, seed=1).numpy()
    kinds = {"int8": np.int8, "int4": np.uint8}
    one, other = (np.empty((5, 6), np.float32) for _ in range(2))
    _multiply(np.empty(0, kinds[bits]), held.blocks.data_ptr(), x, one, one, (0, 1))
    matrix = held.matrix()
    _multiply(np.empty(0, np.float32), matrix.data_ptr(), x, other, other, (0, 1))
    assert np.array_equal(one, other) and one.any()


def test_a_gradient_goes_through_to_what_came_before():
    held, x = Quantised(random(5, 64), "int8"), random(3, 64, seed=1).requires_grad_()
    held(x, None).sum().backward()
    torch.testing.assert_close(x.grad, held.matrix().sum(0).expand(3, 64))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_every_model_reads_what_its_blocks_stand_for(name, bits):
    model = MEMBERS[name]()
    linears = [part for part in model.modules() if isinstance(part, Linear) and part.in_features % 32 == 0]
    if not linears:
        with pytest.raises(ValueError, match="no matrix has rows of whole blocks of 32 numbers"):
            quantise(model, bits)
        return
    tokens = torch.randint(0, VOCABULARY, (2, 20), generator=torch.Generator().manual_seed(3))
    made = quantise(model, bits)
    routers = sum(isinstance(part, Mixture) for part in model.modules())
    assert made.matrices == len(linears) - routers and made.after < made.before / 3
    found = model(tokens).values
    expected = written_out(model)(tokens).values
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", ["llama", "grouped"])
@torch.inference_mode()
def test_the_kernel_for_tokens_reads_blocks(name, dtype, bits, monkeypatch):
    model = randomise(CONFIGS[name].build(VOCABULARY)).to(dtype).eval()
    quantise(model, bits)
    plain = written_out(deepcopy(model)).float()
    tokens = torch.randint(0, VOCABULARY, (3, 12), generator=torch.Generator().manual_seed(3))
    expected, answers = plain(tokens).values, []
    for threads, heavy in ((1, False), (2, False), (3, True)):
        monkeypatch.setattr(teams, "size", lambda threads=threads: threads)
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        model.few_tokens.cached_bytes, model.few_tokens._found = 0 if heavy else 1 << 30, None
        state, said = model.begin(3), []
        state.keys, state.values = state.keys.float(), state.values.float()
        for column in tokens.T:
            values, state, *_ = model(column[:, None], state, ask=Last())
            said.append(values)
        answers.append(torch.cat(said, 1))
    assert model.few_tokens.steps == 36
    torch.testing.assert_close(answers[0], expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(answers[0], other) for other in answers)


@torch.inference_mode()
def test_one_matrix_of_another_type_takes_the_plain_way():
    model = randomise(CONFIGS["llama"].build(VOCABULARY)).eval()
    model.blocks[1].feedforward.down.quantise("int8")
    token = torch.zeros(1, 1, dtype=torch.long)
    found = model(token, model.begin(1)).values
    assert model.few_tokens.steps == 0
    torch.testing.assert_close(found, written_out(model)(token).values, rtol=1e-4, atol=1e-4)


def test_what_decides_stays_and_the_head_keeps_eight_bits():
    model = randomise(CONFIGS["mixture"].model_copy(update={"tied": True}).build(VOCABULARY))
    assert model.head.weight is model.embedding.weight
    quantise(model, "int4")
    assert model.head.quantised.bits == "int8" and model.head.weight is None
    assert model.embedding.weight.dtype == torch.float32
    for block in model.blocks:
        assert block.feedforward.router.quantised is None
        assert block.attention.qkv.quantised.bits == block.feedforward.experts[0].up.quantised.bits == "int4"


def test_it_is_not_saved_as_if_it_were_the_model():
    model = randomise(CONFIGS["llama"].build(VOCABULARY))
    quantise(model, "int8")
    with pytest.raises(ValueError, match=r"for reading only; open the run with weights=stored"):
        weights(model)


def test_a_broken_network_is_not_rounded():
    model = randomise(CONFIGS["llama"].build(VOCABULARY))
    with torch.no_grad():
        model.blocks[0].attention.out.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="a number that is not finite"):
        quantise(model, "int8")
