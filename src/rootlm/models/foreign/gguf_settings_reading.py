"""The settings of a GGUF file as a config in Hugging Face's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rootlm.models.foreign.gguf_names import LAYERS
from rootlm.models.foreign.gguf_rotary import Divisors, read_scaling
from rootlm.models.foreign.gguf_words import (
    CLASSES,
    GPT2,
    HEAD_SIZES,
    PLAIN,
    Needed,
    score_divisor,
    usual_layers,
)


def read_config(
    architecture: str,
    settings: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, Divisors],
    place: str,
) -> dict[str, Any]:
    """Return the config of a file; `settings` without the architecture's name, `shapes` by GGUF's names.

    Raises ValueError naming the architecture or key that is missing or not supported.
    """
    if architecture not in LAYERS:
        raise ValueError(
            f"{place}: architecture {architecture!r} is not read; rootlm reads {', '.join(LAYERS)}"
        )
    if "token_embd.weight" not in shapes:
        raise ValueError(f"{place}: holds no token_embd.weight; the file is not whole, copy it again")
    needed = Needed(settings, place)
    if needed.whole("block_count") > len(shapes):
        raise ValueError(
            f"{place}: block_count is more than there are tensors; the header lies, copy it again"
        )
    kind, name = CLASSES[architecture]
    config: dict[str, Any] = {
        "architectures": [name],
        "model_type": kind,
        "vocab_size": shapes["token_embd.weight"][0],
    }
    config["tie_word_embeddings"] = "output.weight" not in shapes
    if architecture == "gpt2":
        sizes = {key: needed.whole(name) for key, name in GPT2.items()}
        inner, eps = needed.whole("feed_forward_length"), needed.number("attention.layer_norm_epsilon")
        return {
            **config,
            **sizes,
            "n_inner": None if inner == 4 * sizes["n_embd"] else inner,
            "layer_norm_epsilon": eps,
            "activation_function": "gelu_new",
        }
    sizes = {key: needed.whole(name) for key, name in PLAIN.items()}
    heads, width = sizes["num_attention_heads"], sizes["hidden_size"]
    if not 1 <= heads <= width:
        raise ValueError(f"{place}: attention.head_count is {heads}, expected 1 to {width}; the header lies")
    config |= sizes
    config["num_key_value_heads"] = needed.whole("attention.head_count_kv", heads)
    head = needed.whole("attention.key_length", width // heads)
    if head != width // heads or architecture in HEAD_SIZES:
        config["head_dim"] = head
    config["rms_norm_eps"] = needed.number("attention.layer_norm_rms_epsilon")
    base = needed.number("rope.freq_base", 10000.0)
    turned = needed.whole("rope.dimension_count", head)
    if turned != head:
        config["partial_rotary_factor"] = turned / head
    scaling, more = read_scaling(settings, sizes["max_position_embeddings"], base, tensors, place)
    config |= {"rope_theta": base, "rope_scaling": scaling, **more}
    return config | _own(architecture, needed, config, shapes)


def _own(
    architecture: str, needed: Needed, config: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Any]:
    """Return what only some families say."""
    if architecture.startswith("gemma"):
        return _read_gemma(architecture, needed, config)
    own: dict[str, Any] = {"hidden_act": "silu"}
    if architecture == "phi3":
        original = needed.whole("rope.scaling.original_context_length", config["max_position_embeddings"])
        return own | {"sliding_window": None, "original_max_position_embeddings": original}
    if architecture == "qwen2":
        return own | {"use_sliding_window": False}
    own["attention_bias"] = "blk.0.attn_q.bias" in shapes
    if architecture == "llama":
        own["mlp_bias"] = "blk.0.ffn_up.bias" in shapes
        if needed.whole("expert_count", 0):
            raise ValueError(
                f"{needed.place}: expert_count: mixtures are not read from GGUF; use their folder"
            )
    return own


def _read_gemma(architecture: str, needed: Needed, config: Mapping[str, Any]) -> dict[str, Any]:
    third = architecture == "gemma3"
    own: dict[str, Any] = {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": score_divisor(architecture, config),
        "sliding_window": needed.whole("attention.sliding_window", 1024 if third else 4096),
        "final_logit_softcapping": needed.number("final_logit_softcapping", 0.0 if third else 30.0) or None,
        "layer_types": usual_layers(config["num_hidden_layers"], 6 if third else 2),
    }
    if third:
        own["rope_local_base_freq"] = needed.number("rope.freq_base_swa", 10000.0)
    else:
        own["attn_logit_softcapping"] = needed.number("attn_logit_softcapping", 50.0) or None
    return own
