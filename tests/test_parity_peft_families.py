"""Adapters of every published family open in PEFT, on the base that transformers opens, and say the same there."""

import pytest
import torch
from peft import PeftModel

import encoder_families
import foreign_families
import foreign_pairs
from rootlm.layers.adapters import adapt, adapter_tensors
from rootlm.layers.low_rank import LoraConfig
from rootlm.models.foreign.hugging_face_folder import open_folder
from rootlm.models.foreign.peft_names import read_peft, write_peft
from rootlm.models.foreign.registry import FAMILIES
from rootlm.models.interface import Encoder, Source, SourceModel
from rootlm.runs.sides import opener_of

MODULES = (foreign_families, encoder_families, foreign_pairs)
MEMBERS = {
    name: module
    for module in MODULES
    for name in module.MEMBERS
    if not name.startswith(("llama_", "llama3", "gpt_neox_", "qwen2_", "bart_"))
}
PLAIN = ("mixtral", "qwen3_moe", "qwen3_moe_renormalised")
"""PEFT has no DoRA for the experts of a mixture."""


def said_by_theirs(model, tokens):
    if model.config.is_encoder_decoder:
        return model(input_ids=tokens, decoder_input_ids=tokens[:, :5]).logits
    return next(iter(model(tokens).values()))


def said_by_ours(model, tokens):
    if isinstance(model, SourceModel):
        return model(tokens[:, :5], source=Source(tokens)).values
    if not isinstance(model, Encoder):
        return model(tokens).values
    hidden = model(tokens)
    return model.predict(hidden) if model.predicts else hidden


@pytest.mark.parametrize("name", MEMBERS)
@torch.no_grad()
def test_peft_puts_our_adapters_on_every_family(name, tmp_path):
    theirs = MEMBERS[name].build(name)
    theirs.save_pretrained(tmp_path / "base")
    published = open_folder(tmp_path / "base")
    ours, pairs = published.network(), published.family.key_map(published.config).pairs
    tokens = torch.randint(3, 60, (2, 12), generator=torch.Generator().manual_seed(1))
    before = said_by_ours(ours, tokens)
    adapt(ours, LoraConfig(rank=2, alpha=4.0, decomposed=name not in PLAIN))
    generator = torch.Generator().manual_seed(6)
    for tensor in adapter_tensors(ours).values():
        tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.15)
    (tmp_path / "adapters").mkdir()
    bare = opener_of(tmp_path / "base") == "AutoModel"
    prefix = published.family.prefix
    write_peft(ours, pairs, tmp_path / "adapters", base=str(tmp_path / "base"), prefix=prefix if bare else "")
    opened = PeftModel.from_pretrained(theirs, str(tmp_path / "adapters")).eval()
    found, expected = said_by_ours(ours, tokens), said_by_theirs(opened, tokens)
    assert (found - before).abs().mean() > 0.05
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    again = published.network()
    read_peft(again, pairs, tmp_path / "adapters", prefix=prefix)
    torch.testing.assert_close(said_by_ours(again, tokens), expected, rtol=0, atol=1e-4)


def test_every_family_is_held():
    held = {MEMBERS[name].MEMBERS[name]().config.model_type for name in MEMBERS}
    assert held == set(FAMILIES)
