"""The laws of adapters, for every language model that learns by gradients."""

import pytest
import torch

from members import CONFIGS, TRAINED, VOCABULARY, build, heard
from rootlm.layers.adapters import adapted, adapter_tensors, matrices
from rootlm.layers.low_rank import LoraConfig
from rootlm.models.adaptation import Adaptation, base_of
from rootlm.models.adapted import begin_adapter, merged
from rootlm.models.catalog import learned, load_model, save_model, weights
from rootlm.models.interface import Targets
from rootlm.training.optimizers import AdamWConfig, MuonConfig, state_tensors

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
UNTIED_HEADS = [name for name in TRAINED if "head.weight" in dict(CONFIGS[name].build(3).named_parameters())]
KINDS = {
    "lora": LoraConfig(rank=3, alpha=4.0),
    "stabilised": LoraConfig(rank=3, alpha=2.0, rank_stabilised=True),
    "dora": LoraConfig(rank=2, alpha=3.0, decomposed=True),
}


@pytest.fixture(params=TRAINED)
def name(request):
    return request.param


@pytest.fixture
def tokens():
    return torch.randint(0, VOCABULARY, (3, 17), generator=torch.Generator().manual_seed(1))


def base_in(folder, name):
    """A base on disk, and the same model in memory."""
    model = build(name)
    save_model(model, folder)
    return model


def adapter_on(model, folder, settings):
    begin_adapter(model, Adaptation(settings=settings, base=base_of(folder)))
    return model


@torch.no_grad()
def unsettle(model):
    """Give what adapters learn values that a mistake would show."""
    generator = torch.Generator().manual_seed(4)
    for part in adapter_tensors(model).values():
        part.add_(torch.randn(part.shape, generator=generator) * 0.2)
    return model


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_adapter_changes_nothing(name, kind, tokens, tmp_path):
    model = base_in(tmp_path, name)
    before = model(tokens).values
    adapter_on(model, tmp_path, KINDS[kind])
    assert torch.equal(model(tokens).values, before)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_merged_equals_unmerged(name, kind, tokens, tmp_path):
    model = base_in(tmp_path, name)
    before = model(tokens).values
    unsettle(adapter_on(model, tmp_path, KINDS[kind]))
    apart = model(tokens).values
    assert not torch.allclose(apart, before, atol=1e-2)
    torch.testing.assert_close(merged(model)(tokens).values, apart, **CLOSE)
    assert not adapted(model)
    assert model.adaptation is None
    save_model(model, tmp_path / "merged")
    torch.testing.assert_close(heard(load_model(tmp_path / "merged"))(tokens).values, apart, **CLOSE)


def losses(model, tokens):
    return model(tokens, ask=Targets(tokens.roll(-1, 1))).values.mean()


@pytest.mark.parametrize("kind", KINDS)
def test_only_adapters_have_gradients_and_memory_in_the_optimizer(name, kind, tokens, tmp_path):
    model = adapter_on(base_in(tmp_path, name), tmp_path, KINDS[kind])
    kept = {n: tensor.clone() for n, tensor in weights(model).items()}
    own = adapter_tensors(model)
    (optimizer,) = AdamWConfig(weight_decay=0.5).build(model)
    unsettle(model)
    losses(model, tokens).backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == own.keys()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in own.values())
    optimizer.step()
    names = {id(parameter): n for n, parameter in model.named_parameters()}
    assert {key.partition(".")[2] for key in state_tensors([optimizer], names)} == own.keys()
    for n, tensor in weights(model).items():
        assert torch.equal(tensor, kept[n]) == (n not in own), n


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load_change_nothing_and_keep_only_what_was_learned(name, kind, tokens, tmp_path):
    model = unsettle(adapter_on(base_in(tmp_path / "base", name), tmp_path / "base", KINDS[kind]))
    save_model(model, tmp_path / "adapter")
    assert learned(model).keys() == adapter_tensors(model).keys()
    opened = heard(load_model(tmp_path / "adapter"))
    assert torch.equal(opened(tokens).values, model(tokens).values)
    assert learned(opened).keys() == learned(model).keys()


@pytest.mark.parametrize("name", UNTIED_HEADS, indirect=True)
def test_a_head_learns_as_torch_says(name, tokens, tmp_path):
    model = base_in(tmp_path, name)
    unsettle(adapter_on(model, tmp_path, LoraConfig(rank=3, targets=["head"])))
    own = adapter_tensors(model)
    assert len(own) == 2
    losses(model, tokens).backward()
    found = [parameter.grad.clone() for parameter in own.values()]
    model.zero_grad()
    logits = model(tokens).values
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.roll(-1, 1).flatten()).backward()
    for one, parameter in zip(found, own.values(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_every_matrix_can_be_adapted_alone(name, tokens, tmp_path):
    shared = {"head"} if name not in UNTIED_HEADS else set()
    every = [one.name for one in matrices(base_in(tmp_path, name)) if one.name not in shared]
    for target in every:
        model = build(name)
        before = model(tokens).values
        unsettle(adapter_on(model, tmp_path, LoraConfig(rank=1, targets=[target])))
        assert [one.name for one, _ in adapted(model)] == [target]
        assert not torch.equal(model(tokens).values, before), target


def test_muon_steps_a_model_with_adapters(tmp_path, tokens):
    model = adapter_on(base_in(tmp_path, "llama"), tmp_path, LoraConfig())
    losses(model, tokens).backward()
    optimizers = MuonConfig().build(model)
    for optimizer in optimizers:
        optimizer.step()
    names = {id(parameter): n for n, parameter in model.named_parameters()}
    assert {key.partition(".")[2] for key in state_tensors(optimizers, names)} == adapter_tensors(
        model
    ).keys()
