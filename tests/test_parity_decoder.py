"""Logits equal those of transformers in float32, on weights where every parameter is random."""

import pytest
import torch
import transformers
from torch.nn import functional as F

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import GeLUConfig, SwiGLUConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.models.interface import Last, Targets

VOCABULARY, CONTEXT, TIME, WINDOW = 97, 64, 40, 7
SIZES = {"depth": 3, "hidden_size": 48, "n_heads": 6, "context": CONTEXT}
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": CONTEXT,
    "attn_implementation": "eager",
}


def llama():
    config = transformers.LlamaConfig(
        **COMMON,
        num_key_value_heads=2,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    ours = DecoderConfig(preset="llama", n_kv_heads=2, feedforward=SwiGLUConfig(size=80), **SIZES)
    return transformers.LlamaForCausalLM(config), ours


def qwen3():
    config = transformers.Qwen3Config(
        **COMMON,
        num_key_value_heads=3,
        head_dim=16,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )
    ours = DecoderConfig(
        preset="qwen3", n_kv_heads=3, head_size=16, feedforward=SwiGLUConfig(size=80), **SIZES
    )
    return transformers.Qwen3ForCausalLM(config), ours


def mistral():
    config = transformers.MistralConfig(
        **COMMON,
        num_key_value_heads=6,
        sliding_window=WINDOW,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    attention = AttentionConfig(window=WINDOW)
    ours = DecoderConfig(preset="llama", attention=attention, feedforward=SwiGLUConfig(size=80), **SIZES)
    return transformers.MistralForCausalLM(config), ours


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=48,
        n_layer=3,
        n_head=6,
        n_positions=CONTEXT,
        n_inner=80,
        attn_implementation="eager",
    )
    return transformers.GPT2LMHeadModel(config), DecoderConfig(
        preset="gpt2", feedforward=GeLUConfig(size=80), **SIZES
    )


def from_llama(theirs, layers):
    """Weights by our names, from the names that Llama, Qwen and Mistral share."""
    mapped = {
        "embedding.weight": theirs["model.embed_tokens.weight"],
        "norm.weight": theirs["model.norm.weight"],
    }
    mapped["head.weight"] = theirs["lm_head.weight"]
    for layer in range(layers):
        block, own = f"model.layers.{layer}.", f"blocks.{layer}."
        joined = {
            "attention.qkv.weight": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            "attention.out.weight": ("self_attn.o_proj",),
            "attention.q_norm": ("self_attn.q_norm",),
            "attention.k_norm": ("self_attn.k_norm",),
            "attention_norm.weight": ("input_layernorm",),
            "feedforward_norm.weight": ("post_attention_layernorm",),
            "feedforward.up.weight": ("mlp.gate_proj", "mlp.up_proj"),
            "feedforward.down.weight": ("mlp.down_proj",),
        }
        for name, parts in joined.items():
            if f"{block}{parts[0]}.weight" in theirs:
                mapped[own + name] = torch.cat([theirs[f"{block}{part}.weight"] for part in parts])
    return mapped


def from_gpt2(theirs, layers):
    """The same for GPT-2, whose matrices stand the other way round."""
    mapped = {
        "embedding.weight": theirs["transformer.wte.weight"],
        "head.weight": theirs["lm_head.weight"],
        "positions.table.weight": theirs["transformer.wpe.weight"],
        "norm.weight": theirs["transformer.ln_f.weight"],
        "norm.bias": theirs["transformer.ln_f.bias"],
    }
    names = {
        "attention_norm": "ln_1",
        "feedforward_norm": "ln_2",
        "attention.qkv": "attn.c_attn",
        "attention.out": "attn.c_proj",
        "feedforward.up": "mlp.c_fc",
        "feedforward.down": "mlp.c_proj",
    }
    for layer in range(layers):
        for own, other in names.items():
            weight = theirs[f"transformer.h.{layer}.{other}.weight"]
            mapped[f"blocks.{layer}.{own}.weight"] = weight.T if weight.ndim == 2 else weight
            mapped[f"blocks.{layer}.{own}.bias"] = theirs[f"transformer.h.{layer}.{other}.bias"]
    return mapped


@torch.no_grad()
def unsettle(model):
    """Give every parameter, gains and biases too, values that a mistake would show in logits of some size."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            parameter.copy_(noise * 0.3 + (0.0 if name.endswith("bias") else 1.0))
        else:
            parameter.copy_(noise * (0.4 if VOCABULARY in parameter.shape else parameter.shape[-1] ** -0.5))
    return model


FAMILIES = {
    "llama": (llama, from_llama),
    "qwen3": (qwen3, from_llama),
    "mistral": (mistral, from_llama),
    "gpt2": (gpt2, from_gpt2),
}


@pytest.fixture(params=FAMILIES, scope="module")
def pair(request):
    """The reference and our decoder with the same weights, none of them at rest."""
    make, mapped = FAMILIES[request.param]
    theirs, config = make()
    unsettle(theirs)
    ours = config.build(VOCABULARY)
    missing, unexpected = ours.load_state_dict(mapped(theirs.state_dict(), 3), strict=False)
    assert not missing
    assert not unexpected
    return theirs.eval(), ours.eval()


@pytest.fixture
def tokens():
    return torch.randint(0, VOCABULARY, (3, TIME), generator=torch.Generator().manual_seed(5))


def equal(found, expected):
    assert expected.std() >= 1
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def test_no_parameter_is_at_rest(pair):
    for name, parameter in pair[1].named_parameters():
        assert parameter.std() > 0.05, name


@torch.no_grad()
def test_logits_are_equal(pair, tokens):
    theirs, ours = pair
    equal(ours(tokens).values, theirs(tokens).logits)


@torch.no_grad()
def test_logits_are_equal_with_padding(pair, tokens):
    theirs, ours = pair
    lengths = torch.tensor([TIME, 23, 1])
    real = torch.arange(TIME) < lengths[:, None]
    expected = theirs(tokens, attention_mask=real.long()).logits
    equal(ours(tokens, lengths=lengths).values[real], expected[real])
    last = ours(tokens, lengths=lengths, ask=Last(1)).values[:, 0]
    torch.testing.assert_close(last, expected[torch.arange(3), lengths - 1], rtol=0, atol=1e-4)


@torch.no_grad()
def test_logits_are_equal_with_a_cache(pair, tokens):
    theirs, ours = pair
    cache, state = None, ours.begin(3)
    for start, end in ((0, 11), (11, 12), (12, 13), (13, 30), (30, TIME)):
        answer = theirs(tokens[:, start:end], past_key_values=cache, use_cache=True)
        cache = answer.past_key_values
        values, state = ours(tokens[:, start:end], state)[:2]
        equal(values, answer.logits)


def test_loss_and_gradients_are_equal(pair, tokens):
    theirs, ours = pair
    expected = theirs(tokens, labels=tokens).loss
    ours.zero_grad()
    theirs.zero_grad()
    expected.backward()
    found = ours(tokens[:, :-1], ask=Targets(tokens[:, 1:])).values.mean()
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    table = next(
        p for name, p in theirs.named_parameters() if name.endswith(("wte.weight", "embed_tokens.weight"))
    )
    scale = table.grad.abs().max()
    torch.testing.assert_close(ours.embedding.weight.grad, table.grad, rtol=1e-3, atol=float(1e-4 * scale))


@torch.no_grad()
def test_the_window_hides_what_lies_beyond(tokens):
    theirs, ours = (unsettle(model) for model in (mistral()[0], mistral()[1].build(VOCABULARY)))
    changed = tokens.clone()
    changed[:, 0] = (changed[:, 0] + 1) % VOCABULARY
    # Three layers of a window of 7 see 19 tokens in all.
    beyond = 3 * (WINDOW - 1) + 1
    for model, read in ((ours.eval(), lambda x: ours(x).values), (theirs.eval(), lambda x: theirs(x).logits)):
        assert not torch.allclose(read(changed)[:, beyond - 1], read(tokens)[:, beyond - 1])
        assert torch.equal(read(changed)[:, beyond:], read(tokens)[:, beyond:]), model


@torch.no_grad()
def test_attention_equals_torch_on_every_path():
    """The dense path, the fused one and torch's own formula, with shared heads and with a mask."""
    from rootlm.layers import dense_attention

    torch.manual_seed(0)
    q, k, v = (torch.randn(2, heads, 12, 8) for heads in (4, 2, 2))
    mask = torch.zeros(2, 1, 12, 12).masked_fill(torch.rand(2, 1, 12, 12) < 0.3, float("-inf"))
    mask[..., 0] = 0
    for given, is_causal in ((None, True), (mask, False), (None, False)):
        expected = F.scaled_dot_product_attention(
            q, k, v, attn_mask=given, is_causal=is_causal, enable_gqa=True
        )
        with torch.enable_grad():
            dense = dense_attention.attend(q.requires_grad_(), k, v, given, is_causal=is_causal).detach()
        fused = dense_attention.attend(q.detach(), k, v, given, is_causal=is_causal)
        torch.testing.assert_close(dense, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(fused, expected, rtol=1e-5, atol=1e-5)
