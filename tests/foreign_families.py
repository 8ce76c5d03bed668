"""Tiny networks of every published family that rootlm reads, made with `transformers`, no parameter at rest."""

from collections.abc import Callable

import torch
import transformers

VOCABULARY, CONTEXT, WINDOW = 97, 64, 7
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "max_position_embeddings": CONTEXT,
    "attn_implementation": "eager",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}


def llama(**given):
    settings = {"num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_parameters": PLAIN, **given}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**COMMON, **settings}))


def scaled(kind: str, **parameters):
    return lambda: llama(rope_parameters={"rope_type": kind, "rope_theta": 1000.0, **parameters})


def llama_with_biases():
    return llama(attention_bias=True, mlp_bias=True, head_dim=16)


def smollm():
    """SmolLM is a Llama whose head is its embedding."""
    return llama(tie_word_embeddings=True, num_attention_heads=9, num_key_value_heads=3, hidden_size=54)


def mistral():
    config = transformers.MistralConfig(
        **COMMON, num_key_value_heads=6, sliding_window=WINDOW, rms_norm_eps=1e-5, rope_parameters=PLAIN
    )
    return transformers.MistralForCausalLM(config)


def qwen2(**given):
    settings = {"num_key_value_heads": 2, "rope_parameters": {**PLAIN, "rope_theta": 1e6}, **given}
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**COMMON, **settings))


def qwen2_with_windows():
    return qwen2(use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1)


def qwen3():
    config = transformers.Qwen3Config(
        **COMMON,
        num_key_value_heads=3,
        head_dim=16,
        tie_word_embeddings=True,
        rope_parameters={**PLAIN, "rope_theta": 1e6},
    )
    return transformers.Qwen3ForCausalLM(config)


def olmo2():
    config = transformers.Olmo2Config(**COMMON, num_key_value_heads=2, rope_parameters=PLAIN)
    return transformers.Olmo2ForCausalLM(config)


def phi3(**given):
    settings = {"num_key_value_heads": 2, "sliding_window": WINDOW, "rope_parameters": PLAIN, **given}
    return transformers.Phi3ForCausalLM(transformers.Phi3Config(**COMMON, **settings))


def phi3_long():
    long = {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": [1.0, 1.1, 1.3],
        "long_factor": [1.5, 2.0, 4.0],
        "partial_rotary_factor": 0.75,
    }
    return phi3(rope_parameters=long, original_max_position_embeddings=32, sliding_window=None)


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=48,
        n_layer=3,
        n_head=6,
        n_positions=CONTEXT,
        n_inner=80,
        attn_implementation="eager",
        bos_token_id=1,
        eos_token_id=1,
    )
    return transformers.GPT2LMHeadModel(config)


def gpt_neox(**given):
    config = transformers.GPTNeoXConfig(
        **{**COMMON, "num_attention_heads": 3},
        **given,
        rope_parameters={**PLAIN, "partial_rotary_factor": 0.25},
    )
    return transformers.GPTNeoXForCausalLM(config)


def gpt_neox_in_turn():
    return gpt_neox(use_parallel_residual=False, hidden_act="gelu_fast")


def gemma2():
    config = transformers.Gemma2Config(
        **COMMON,
        num_key_value_heads=2,
        head_dim=16,
        query_pre_attn_scalar=24,
        sliding_window=WINDOW,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=7.0,
        rope_parameters=PLAIN,
    )
    return transformers.Gemma2ForCausalLM(config)


def gemma3():
    config = transformers.Gemma3TextConfig(
        **COMMON,
        num_key_value_heads=2,
        head_dim=16,
        query_pre_attn_scalar=24,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": PLAIN,
        },
    )
    return transformers.Gemma3ForCausalLM(config)


def mixtral():
    config = transformers.MixtralConfig(
        **COMMON, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, rope_parameters=PLAIN
    )
    return transformers.MixtralForCausalLM(config)


def qwen3_moe(**given):
    config = transformers.Qwen3MoeConfig(
        **COMMON,
        **given,
        num_key_value_heads=2,
        head_dim=16,
        moe_intermediate_size=32,
        num_experts=5,
        num_experts_per_tok=2,
        rope_parameters=PLAIN,
    )
    return transformers.Qwen3MoeForCausalLM(config)


def qwen3_moe_renormalised():
    return qwen3_moe(norm_topk_prob=True)


MEMBERS: dict[str, Callable] = {
    "gpt2": gpt2,
    "llama": llama,
    "llama_with_biases": llama_with_biases,
    "smollm": smollm,
    "llama_linear": scaled("linear", factor=3.0),
    "llama_dynamic": lambda: llama(
        max_position_embeddings=16, rope_parameters={**PLAIN, "rope_type": "dynamic", "factor": 4.0}
    ),
    "llama_yarn": scaled("yarn", factor=4.0, original_max_position_embeddings=16),
    "llama_yarn_set": scaled(
        "yarn",
        factor=4.0,
        original_max_position_embeddings=16,
        beta_fast=20.0,
        beta_slow=0.5,
        attention_factor=1.2,
        truncate=False,
    ),
    "llama3": scaled(
        "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32
    ),
    "mistral": mistral,
    "qwen2": qwen2,
    "qwen2_with_windows": qwen2_with_windows,
    "qwen3": qwen3,
    "olmo2": olmo2,
    "phi3": phi3,
    "phi3_long": phi3_long,
    "gpt_neox": gpt_neox,
    "gpt_neox_in_turn": gpt_neox_in_turn,
    "gemma2": gemma2,
    "gemma3": gemma3,
    "mixtral": mixtral,
    "qwen3_moe": qwen3_moe,
    "qwen3_moe_renormalised": qwen3_moe_renormalised,
}


@torch.no_grad()
def unsettle(model):
    """Give every parameter, gains and biases too, values that a mistake would show in logits of some size."""
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            centre = 0.0 if name.endswith("bias") or "gemma" in type(model).__name__.lower() else 1.0
            parameter.copy_(noise * 0.3 + centre)
        else:
            parameter.copy_(noise * (0.4 if VOCABULARY in parameter.shape else parameter.shape[-1] ** -0.5))
    return model.eval()


def build(name):
    """Return the member with this name, in evaluation mode."""
    return unsettle(MEMBERS[name]())
