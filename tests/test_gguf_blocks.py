"""Numbers in GGUF's types: equal to what the `gguf` package reads and writes, bit for bit."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from rootlm.models.foreign.gguf_blocks import LAYOUTS, Layout, values
from rootlm.models.foreign.gguf_quantising import KINDS, encoded, layout_of

_BLOCKED = [layout for layout in LAYOUTS.values() if layout.read is not None]


def _blocks(layout: Layout, count: int) -> np.ndarray:
    """Return blocks of random bytes whose scales are ordinary numbers."""
    source = np.random.default_rng(layout.number)
    blocks = source.integers(0, 256, (count, layout.width), np.uint8)
    halves = {12: (0, 2), 14: (208,)}.get(layout.number, (0, 2) if layout.name.endswith("_1") else (0,))
    for place in halves:
        scales = source.normal(0, 0.02, count).astype(np.float16)
        blocks[:, place : place + 2] = scales.view(np.uint8).reshape(count, 2)
    return blocks


def test_every_type_of_the_package_has_our_sizes() -> None:
    for number, layout in LAYOUTS.items():
        assert gguf.GGMLQuantizationType(number).name == layout.name
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(number)] == (layout.values, layout.width)


@pytest.mark.parametrize("layout", _BLOCKED, ids=lambda layout: layout.name)
def test_blocks_have_the_values_that_the_package_reads(layout: Layout) -> None:
    # More than are read at once, and not a multiple of that.
    count = (1 << 21) // layout.values + 37
    blocks = _blocks(layout, count)
    ours = np.empty(count * layout.values, np.float32)
    values(blocks.reshape(-1), layout, ours)
    theirs = gguf.dequantize(blocks, gguf.GGMLQuantizationType(layout.number))
    assert np.array_equal(ours, theirs.reshape(-1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_numbers_are_rounded_as_the_package_rounds_them(kind: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(70, 64, generator=generator)
    given[0, :32] = 0
    given[1] = torch.arange(-32, 32) / 2 * 127 / 16
    given = given.to(dtype)
    layout = KINDS[kind]  # type: ignore[index]
    ours = b"".join(encoded(given, layout, "a tensor"))
    theirs = gguf.quantize(given.float().numpy(), gguf.GGMLQuantizationType(layout.number))
    assert ours == theirs.tobytes()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_broken_network_is_not_written(value: float) -> None:
    given = torch.zeros(2, 32)
    given[1, 3] = value
    with pytest.raises(ValueError, match=r"a\.weight holds a number that is not finite"):
        list(encoded(given, KINDS["Q8_0"], "a.weight"))


def test_what_f16_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.weight holds 7e\+04, too much for F16; write BF16 or F32"):
        list(encoded(torch.full((2, 32), 7e4), KINDS["F16"], "a.weight"))


def test_only_matrices_of_whole_blocks_are_made_small() -> None:
    chosen = {
        ("blk.0.ffn_up.weight", (8, 64)): "Q4_0",
        ("blk.0.ffn_up.weight", (8, 72)): "F16",
        ("blk.0.attn_norm.weight", (64,)): "F32",
        ("position_embd.weight", (8, 64)): "F32",
        ("output.weight", (8, 64)): "Q8_0",
        ("token_embd.weight", (8, 64)): "Q4_0",
    }
    for (name, shape), expected in chosen.items():
        assert layout_of(name, shape, "Q4_0", tied=False).name == expected
    assert layout_of("token_embd.weight", (8, 64), "Q4_0", tied=True).name == "Q8_0"
