"""Adapters equal PEFT's, in both directions: theirs over ours, ours over theirs."""

import json
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
import transformers
from peft import LoraConfig as PeftConfig
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from rootlm.layers.adapters import adapt, adapted, adapter_tensors
from rootlm.layers.feedforward import GeLUConfig, SwiGLUConfig
from rootlm.layers.low_rank import LoraConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.models.foreign.peft_names import read_peft, write_peft

VOCABULARY, CONTEXT, LAYERS = 80, 40, 2
TURNED = SimpleNamespace(read=lambda theirs: theirs.mT, write=lambda ours: ours.mT)
SIZES = {"depth": LAYERS, "hidden_size": 48, "n_heads": 6, "context": CONTEXT, "tied": False}


@dataclass
class Pair:
    """A line of the map of names, as the families' rules give it."""

    ours: str
    theirs: tuple
    heights: tuple = ()
    change: object = None


def llama():
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=48, intermediate_size=80, num_hidden_layers=LAYERS,
        num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5,
        tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )  # fmt: skip
    pairs = [
        Pair("embedding.weight", ("model.embed_tokens.weight",)),
        Pair("norm.weight", ("model.norm.weight",)),
    ]
    pairs.append(Pair("head.weight", ("lm_head.weight",)))
    for layer in range(LAYERS):
        block, own = f"model.layers.{layer}.", f"blocks.{layer}."
        rows = {
            "attention.qkv": (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), (48, 16, 16)),
            "attention.out": (("self_attn.o_proj",), ()),
            "attention_norm": (("input_layernorm",), ()),
            "feedforward_norm": (("post_attention_layernorm",), ()),
            "feedforward.up": (("mlp.gate_proj", "mlp.up_proj"), (80, 80)),
            "feedforward.down": (("mlp.down_proj",), ()),
        }
        pairs += [
            Pair(f"{own}{name}.weight", tuple(f"{block}{one}.weight" for one in theirs), heights)
            for name, (theirs, heights) in rows.items()
        ]
    ours = DecoderConfig(preset="llama", n_kv_heads=2, feedforward=SwiGLUConfig(size=80), **SIZES)
    return transformers.LlamaForCausalLM(config), ours, pairs


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=48, n_layer=LAYERS, n_head=6, n_positions=CONTEXT, n_inner=80,
        attn_implementation="eager", tie_word_embeddings=False,
    )  # fmt: skip
    names = {
        "attention_norm": "ln_1",
        "feedforward_norm": "ln_2",
        "attention.qkv": "attn.c_attn",
        "attention.out": "attn.c_proj",
        "feedforward.up": "mlp.c_fc",
        "feedforward.down": "mlp.c_proj",
    }
    pairs = [
        Pair("embedding.weight", ("transformer.wte.weight",)),
        Pair("positions.table.weight", ("transformer.wpe.weight",)),
        Pair("head.weight", ("lm_head.weight",)),
        *(Pair(f"norm.{part}", (f"transformer.ln_f.{part}",)) for part in ("weight", "bias")),
    ]
    for layer in range(LAYERS):
        for own, other in names.items():
            ours, theirs = f"blocks.{layer}.{own}", f"transformer.h.{layer}.{other}"
            change = TURNED if "." in own else None
            pairs += [
                Pair(f"{ours}.weight", (f"{theirs}.weight",), (), change),
                Pair(f"{ours}.bias", (f"{theirs}.bias",)),
            ]
    return (
        transformers.GPT2LMHeadModel(config),
        DecoderConfig(preset="gpt2", feedforward=GeLUConfig(size=80), **SIZES),
        pairs,
    )


FAMILIES = {"llama": llama, "gpt2": gpt2}


@torch.no_grad()
def unsettle(model, scale=1.0):
    """Give every parameter values that a mistake would show in logits of some size."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            parameter.copy_(noise * 0.3 + (0.0 if name.endswith("bias") else 1.0))
        else:
            width = parameter.shape[-1] ** -0.5
            parameter.copy_(noise * scale * (0.4 if VOCABULARY in parameter.shape else width))
    return model.eval()


@pytest.fixture(params=FAMILIES)
def bases(request):
    """The reference and our decoder with the same weights, and the map of their names."""
    theirs, config, pairs = FAMILIES[request.param]()
    held, ours = unsettle(theirs).state_dict(), config.build(VOCABULARY)
    mapped = {}
    for pair in pairs:
        parts = [held[name] if pair.change is None else pair.change.read(held[name]) for name in pair.theirs]
        mapped[pair.ours] = torch.cat(parts)
    missing, unexpected = ours.load_state_dict(mapped, strict=False)
    assert not missing
    assert not unexpected
    return theirs, ours.eval(), pairs


@pytest.fixture
def tokens():
    return torch.randint(0, VOCABULARY, (3, 23), generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def move(tensors):
    """Give adapters values with an effect of the size of what they change."""
    generator = torch.Generator().manual_seed(6)
    for tensor in tensors:
        tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.15)


def equal(found, expected, before):
    assert expected.std() >= 1
    assert (expected - before).abs().mean() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


OURS = {
    "usual": LoraConfig(rank=4, alpha=6.0),
    "whole": LoraConfig(rank=3, alpha=6.0, targets=["attention.qkv", "feedforward.up", "head"]),
    "two parts": LoraConfig(
        rank=4, alpha=6.0, targets=["attention.q", "attention.v", "blocks.1.feedforward.down"]
    ),
    "stabilised": LoraConfig(rank=4, alpha=2.0, rank_stabilised=True),
    "dora": LoraConfig(rank=4, alpha=6.0, decomposed=True),
    "dora of two parts": LoraConfig(
        rank=4, alpha=6.0, decomposed=True, targets=["attention.k", "attention.v"]
    ),
}


@pytest.mark.parametrize("kind", OURS)
@torch.no_grad()
def test_peft_opens_what_we_write(bases, kind, tokens, tmp_path):
    theirs, ours, pairs = bases
    before = ours(tokens).values
    adapt(ours, OURS[kind])
    move(adapter_tensors(ours).values())
    write_peft(ours, pairs, tmp_path, base="a/base")
    opened = PeftModel.from_pretrained(theirs, str(tmp_path)).eval()
    known = {name.replace(".default", "") for name, _ in opened.named_parameters() if "lora_" in name}
    written = load_file(tmp_path / "adapter_model.safetensors")
    assert known == {name + ".weight" * name.endswith("_vector") for name in written}
    equal(ours(tokens).values, opened(tokens).logits, before)


THEIRS = {
    "plain": {"llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"]},
    "all": {"llama": "all-linear", "gpt2": "all-linear"},
    "one layer": {"llama": ["model.layers.1.mlp.up_proj"], "gpt2": ["transformer.h.0.mlp.c_fc"]},
}
MORE = {
    "plain": {},
    "stabilised": {"use_rslora": True},
    "dora": {"use_dora": True},
    "ranks": {"rank_pattern": {"q_proj": 2, "c_fc": 7}, "alpha_pattern": {"q_proj": 9, "c_proj": 3}},
}


@pytest.mark.parametrize("more", MORE)
@pytest.mark.parametrize("targets", THEIRS)
def test_we_open_what_peft_writes_and_write_it_again(bases, targets, more, tokens, tmp_path):
    theirs, ours, pairs = bases
    family = theirs.config.model_type
    with torch.no_grad():
        before = ours(tokens).values
    config = PeftConfig(
        r=4, lora_alpha=6, target_modules=THEIRS[targets][family], task_type="CAUSAL_LM",
        fan_in_fan_out=family == "gpt2", **MORE[more],
    )  # fmt: skip
    wrapped = get_peft_model(theirs, config).eval()
    move(parameter for name, parameter in wrapped.named_parameters() if "lora_" in name)
    wrapped.save_pretrained(tmp_path / "theirs")
    read_peft(ours, pairs, tmp_path / "theirs")
    with torch.no_grad():
        expected, found = wrapped(tokens).logits, ours(tokens).values
    equal(found, expected, before)
    (tmp_path / "ours").mkdir()
    write_peft(ours, pairs, tmp_path / "ours", base="a/base")
    first, second = (load_file(tmp_path / one / "adapter_model.safetensors") for one in ("theirs", "ours"))
    assert first.keys() == second.keys()
    if more != "ranks":
        for name, tensor in first.items():
            assert torch.equal(tensor, second[name]), name


def test_gradients_are_equal(bases, tokens, tmp_path):
    theirs, ours, pairs = bases
    adapt(ours, LoraConfig(rank=4, targets=["attention.out", "feedforward.down"]))
    move(adapter_tensors(ours).values())
    write_peft(ours, pairs, tmp_path, base="a/base")
    opened = PeftModel.from_pretrained(theirs, str(tmp_path), is_trainable=True)
    opened(tokens).logits.square().mean().backward()
    ours(tokens).values.square().mean().backward()
    names = {pair.ours: pair.theirs[0].removesuffix(".weight") for pair in pairs}
    found = {name: parameter.grad for name, parameter in opened.named_parameters() if "lora_" in name}
    for matrix, adapter in adapted(ours):
        theirs_name = names[f"{matrix.name}.weight"]
        for letter, own in (("A", adapter.down), ("B", adapter.up)):
            expected = found.pop(f"base_model.model.{theirs_name}.lora_{letter}.default.weight")
            torch.testing.assert_close(own.grad, expected, rtol=1e-3, atol=1e-5)
    assert not found


def test_what_peft_has_and_we_lack_is_refused_by_name(tmp_path):
    theirs, config, pairs = llama()
    ours = config.build(VOCABULARY)
    get_peft_model(theirs, PeftConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    plain = json.loads(file.read_text())
    for key, value, said in (
        ("peft_type", "IA3", "peft_type is IA3; rootlm reads LORA"),
        ("bias", "all", "bias is all"),
        ("modules_to_save", ["lm_head"], "modules_to_save is"),
        ("lora_bias", True, "lora_bias is True"),
        ("layer_replication", [[0, 1]], "layer_replication is"),
        ("init_lora_weights", "pissa", "init_lora_weights is pissa"),
        ("lora_alpha", None, "is no number"),
        ("a_setting_of_next_year", 3, "a_setting_of_next_year is 3"),
    ):
        file.write_text(json.dumps({**plain, key: value}))
        with pytest.raises(ValueError, match=said) as caught:
            read_peft(ours, pairs, tmp_path)
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
    file.write_text(json.dumps(plain))


def test_tensors_of_another_base_are_refused_by_name(tmp_path):
    theirs, config, pairs = llama()
    ours = config.build(VOCABULARY)
    get_peft_model(theirs, PeftConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    held = load_file(file)
    one = next(name for name in held if "lora_B" in name)
    for changed, said in (
        ({one: held[one][:-1].clone()}, "q_proj.lora_B is .47, 2., the base needs .48, 2."),
        ({one.replace("lora_B", "lora_A"): held[one].clone()}, "q_proj.lora_A is .48, 2., the base needs"),
        (
            {"base_model.model.lm_head.lora_B.weight": torch.ones(2)},
            "holds no base_model.model.lm_head.lora_A",
        ),
        ({"base_model.model.lm_head.weight": torch.ones(2)}, "lm_head.weight, which is no LoRA"),
    ):
        save_file({**held, **changed}, file)
        with pytest.raises(ValueError, match=said):
            read_peft(config.build(VOCABULARY), pairs, tmp_path)
    foreign = {name.replace("layers.1", "layers.7"): tensor for name, tensor in held.items()}
    save_file(foreign, file)
    with pytest.raises(ValueError, match=r"layers.7.self_attn.q_proj is no matrix of this base"):
        read_peft(ours, pairs, tmp_path)


@torch.no_grad()
def test_rows_that_stand_in_another_order_come_back(tokens, tmp_path):
    """As GPT-NeoX's queries, keys and values do, head by head: B follows its rows, A does not."""
    _, config, pairs = llama()

    def turned(rows, count):
        return rows.reshape(count, -1, *rows.shape[1:]).transpose(0, 1).reshape(rows.shape)

    change = SimpleNamespace(
        read=lambda rows: turned(rows, 8), write=lambda rows: turned(rows, len(rows) // 8)
    )
    pairs = [
        Pair(p.ours, (p.theirs[0].replace("q_proj", "qkv"),), (), change) if len(p.theirs) == 3 else p
        for p in pairs
    ]
    torch.manual_seed(0)
    ours = unsettle(config.build(VOCABULARY))
    other = config.build(VOCABULARY).eval()
    other.load_state_dict(ours.state_dict())
    adapt(ours, LoraConfig(rank=4, decomposed=True, targets=["attention.qkv"]))
    move(adapter_tensors(ours).values())
    write_peft(ours, pairs, tmp_path, base="a/base")
    own = adapter_tensors(ours)["blocks.0.attention.qkv.adapter.up"]
    written = load_file(tmp_path / "adapter_model.safetensors")
    name = "base_model.model.model.layers.0.self_attn.qkv.lora_B.weight"
    assert torch.equal(written[name], change.write(own))
    assert not torch.equal(written[name], own)
    read_peft(other, pairs, tmp_path)
    torch.testing.assert_close(other(tokens).values, ours(tokens).values, rtol=0, atol=1e-5)
