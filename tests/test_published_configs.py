"""The configs of models that everybody knows are understood key by key, down to the number of their parameters."""

import pytest
import torch

from rootlm.models.foreign.registry import FAMILIES, family_for

USUAL = {
    "architectures": ["…"],
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.1",
    "use_cache": True,
}
LLAMA = {
    **USUAL,
    "model_type": "llama",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
}
QWEN = {
    **USUAL,
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000.0,
    "use_sliding_window": False,
    "vocab_size": 151936,
}
GEMMA = {
    **USUAL,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 2,
    "cache_implementation": "hybrid",
    "eos_token_id": 1,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "initializer_range": 0.02,
    "pad_token_id": 0,
    "query_pre_attn_scalar": 256,
    "rms_norm_eps": 1e-06,
}


def shape(width, inner, layers, heads, shared):
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
    }


PUBLISHED = {
    "GPT-2": (
        {
            **USUAL,
            "activation_function": "gelu_new",
            "attn_pdrop": 0.1,
            "embd_pdrop": 0.1,
            "layer_norm_epsilon": 1e-05,
            "model_type": "gpt2",
            "n_ctx": 1024,
            "n_embd": 768,
            "n_head": 12,
            "n_layer": 12,
            "n_positions": 1024,
            "resid_pdrop": 0.1,
            "summary_activation": None,
            "summary_proj_to_labels": True,
            "summary_type": "cls_index",
            "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
            "vocab_size": 50257,
        },
        124_439_808,
        1024,
    ),
    "SmolLM2-135M": (
        {
            **LLAMA,
            **shape(576, 1536, 30, 9, 3),
            "is_llama_config": True,
            "max_position_embeddings": 8192,
            "rope_interleaved": False,
            "rope_theta": 100000,
            "tie_word_embeddings": True,
            "vocab_size": 49152,
        },
        134_515_008,
        8192,
    ),
    "Llama-2-7B": (
        {**LLAMA, **shape(4096, 11008, 32, 32, 32), "max_position_embeddings": 4096, "vocab_size": 32000},
        6_738_415_616,
        4096,
    ),
    "Llama-3.2-1B": (
        {
            **LLAMA,
            **shape(2048, 8192, 16, 32, 8),
            "eos_token_id": [128001, 128008, 128009],
            "head_dim": 64,
            "max_position_embeddings": 131072,
            "mlp_bias": False,
            "rope_scaling": {
                "factor": 32.0,
                "high_freq_factor": 4.0,
                "low_freq_factor": 1.0,
                "original_max_position_embeddings": 8192,
                "rope_type": "llama3",
            },
            "rope_theta": 500000.0,
            "tie_word_embeddings": True,
            "vocab_size": 128256,
        },
        1_235_814_400,
        131072,
    ),
    "Mistral-7B-v0.1": (
        {
            **USUAL,
            **shape(4096, 14336, 32, 32, 8),
            "hidden_act": "silu",
            "max_position_embeddings": 32768,
            "model_type": "mistral",
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "sliding_window": 4096,
            "tie_word_embeddings": False,
            "vocab_size": 32000,
        },
        7_241_732_096,
        32768,
    ),
    "Qwen2.5-0.5B": (
        {
            **QWEN,
            **shape(896, 4864, 24, 14, 2),
            "max_window_layers": 24,
            "model_type": "qwen2",
            "sliding_window": 32768,
            "tie_word_embeddings": True,
            "use_mrope": False,
        },
        494_032_768,
        32768,
    ),
    "Qwen2.5-0.5B with YaRN": (
        {
            **QWEN,
            **shape(896, 4864, 24, 14, 2),
            "model_type": "qwen2",
            "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"},
            "tie_word_embeddings": True,
        },
        494_032_768,
        131072,
    ),
    "Qwen3-0.6B": (
        {
            **QWEN,
            **shape(1024, 3072, 28, 16, 8),
            "attention_bias": False,
            "head_dim": 128,
            "max_position_embeddings": 40960,
            "max_window_layers": 28,
            "model_type": "qwen3",
            "rope_scaling": None,
            "sliding_window": None,
            "tie_word_embeddings": True,
        },
        596_049_920,
        40960,
    ),
    "Qwen3-30B-A3B": (
        {
            **QWEN,
            **shape(2048, 6144, 48, 32, 4),
            "attention_bias": False,
            "decoder_sparse_step": 1,
            "head_dim": 128,
            "max_position_embeddings": 40960,
            "max_window_layers": 48,
            "mlp_only_layers": [],
            "model_type": "qwen3_moe",
            "moe_intermediate_size": 768,
            "norm_topk_prob": True,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "output_router_logits": False,
            "rope_scaling": None,
            "router_aux_loss_coef": 0.001,
            "sliding_window": None,
            "tie_word_embeddings": False,
        },
        30_532_122_624,
        40960,
    ),
    "Mixtral-8x7B": (
        {
            **USUAL,
            **shape(4096, 14336, 32, 32, 8),
            "hidden_act": "silu",
            "max_position_embeddings": 32768,
            "model_type": "mixtral",
            "num_experts_per_tok": 2,
            "num_local_experts": 8,
            "output_router_logits": False,
            "rms_norm_eps": 1e-05,
            "rope_theta": 1000000.0,
            "router_aux_loss_coef": 0.02,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "vocab_size": 32000,
        },
        46_702_792_704,
        32768,
    ),
    "Gemma 2 2B": (
        {
            **GEMMA,
            **shape(2304, 9216, 26, 8, 4),
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
            "hidden_act": "gelu_pytorch_tanh",
            "max_position_embeddings": 8192,
            "model_type": "gemma2",
            "rope_theta": 10000.0,
            "sliding_window": 4096,
            "vocab_size": 256000,
        },
        2_614_341_888,
        8192,
    ),
    "Gemma 3 1B": (
        {
            **GEMMA,
            **shape(1152, 6912, 26, 4, 1),
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "max_position_embeddings": 32768,
            "model_type": "gemma3_text",
            "rope_local_base_freq": 10000,
            "rope_scaling": None,
            "rope_theta": 1000000,
            "sliding_window": 512,
            "sliding_window_pattern": 6,
            "vocab_size": 262144,
        },
        999_885_952,
        32768,
    ),
    "Phi-3-mini-4k": (
        {
            **USUAL,
            **shape(3072, 8192, 32, 32, 32),
            "attention_bias": False,
            "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
            "hidden_act": "silu",
            "max_position_embeddings": 4096,
            "model_type": "phi3",
            "original_max_position_embeddings": 4096,
            "rms_norm_eps": 1e-05,
            "rope_scaling": None,
            "rope_theta": 10000.0,
            "sliding_window": 2047,
            "tie_word_embeddings": False,
            "vocab_size": 32064,
        },
        3_821_079_552,
        4096,
    ),
    "Phi-3-mini-128k": (
        {
            **USUAL,
            **shape(3072, 8192, 32, 32, 32),
            "hidden_act": "silu",
            "max_position_embeddings": 131072,
            "model_type": "phi3",
            "original_max_position_embeddings": 4096,
            "rms_norm_eps": 1e-05,
            "rope_scaling": {"long_factor": [1.5] * 48, "short_factor": [1.0] * 48, "type": "longrope"},
            "rope_theta": 10000.0,
            "sliding_window": 262144,
            "tie_word_embeddings": False,
            "vocab_size": 32064,
        },
        3_821_079_552,
        131072,
    ),
    "OLMo-2-7B": (
        {
            **USUAL,
            **shape(4096, 11008, 32, 32, 32),
            "attention_bias": False,
            "attention_dropout": 0.0,
            "hidden_act": "silu",
            "max_position_embeddings": 4096,
            "model_type": "olmo2",
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 500000,
            "tie_word_embeddings": False,
            "vocab_size": 100352,
        },
        7_298_617_344,
        4096,
    ),
    "Pythia-70M": (
        {
            **USUAL,
            "hidden_act": "gelu",
            "hidden_size": 512,
            "intermediate_size": 2048,
            "layer_norm_eps": 1e-05,
            "max_position_embeddings": 2048,
            "model_type": "gpt_neox",
            "num_attention_heads": 8,
            "num_hidden_layers": 6,
            "rotary_emb_base": 10000,
            "rotary_pct": 0.25,
            "tie_word_embeddings": False,
            "use_parallel_residual": True,
            "vocab_size": 50304,
        },
        70_426_624,
        2048,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_is_understood_to_the_last_parameter(name):
    data, parameters, context = PUBLISHED[name]
    config, vocab_size = FAMILIES[data["model_type"]].read_config(data, "config.json")
    with torch.device("meta"):
        one, two = (
            config.model_copy(update={"depth": depth, "full_layers": ()}).build(vocab_size).n_parameters()
            for depth in (1, 2)
        )
    # All layers are of one size.
    assert one + (two - one) * (config.depth - 1) == parameters
    assert config.context == context


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_was_read_can_be_written_and_read_again(name):
    data, _, _ = PUBLISHED[name]
    config, vocab_size = FAMILIES[data["model_type"]].read_config(data, "config.json")
    family = family_for(config, vocab_size)
    assert (
        family.read_config(family.write_config(config, vocab_size), "config.json")[0].context
        == config.context
    )
    # Where a smaller family says the same, that is written: a Phi-3 without a window is a Llama.
    same = {"mistral", data["model_type"]} if data["model_type"] == "phi3" else {data["model_type"]}
    assert family.model_type in same
