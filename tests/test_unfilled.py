"""A network without weights has all shapes and costs nothing."""

import subprocess
import sys

import pytest
import torch

from members import CONFIGS, VOCABULARY
from rootlm.layers.unfilled import unfilled

_LIGHT = """
import sys
from rootlm.layers.unfilled import unfilled
from rootlm.models.decoder import DecoderConfig
with unfilled():
    DecoderConfig(preset="gpt2", depth=1).build(9)
sys.exit("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize("name", CONFIGS)
def test_it_has_the_shapes_and_no_memory(name):
    drawn = torch.get_rng_state()
    with unfilled():
        empty = CONFIGS[name].build(VOCABULARY)
    assert torch.equal(torch.get_rng_state(), drawn)
    held = dict(CONFIGS[name].build(VOCABULARY).named_parameters())
    assert {key: part.shape for key, part in held.items()} == {
        key: part.shape for key, part in empty.named_parameters()
    }
    assert all(part.is_meta for part in empty.parameters())


def test_torchs_compiler_is_not_imported_for_it():
    assert subprocess.run([sys.executable, "-c", _LIGHT], check=False).returncode == 0
