"""A config in Hugging Face's words as the settings of a GGUF file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rootlm.models.foreign.gguf_rotary import Divisors, write_scaling
from rootlm.models.foreign.gguf_words import (
    ARCHITECTURES,
    GPT2,
    PLAIN,
    TANH,
    Config,
    Needed,
    score_divisor,
    usual_layers,
)

_HARMLESS = """
    architectures auto_map model_type vocab_size torch_dtype dtype transformers_version _name_or_path
    return_dict output_attentions output_hidden_states output_scores id2label label2id num_labels problem_type
    attn_implementation _attn_implementation gradient_checkpointing chunk_size_feed_forward tokenizer_class
    use_cache initializer_range initializer_factor pretraining_tp torchscript tie_word_embeddings attention_dropout
    bos_token_id eos_token_id pad_token_id hidden_dropout resid_pdrop embd_pdrop attn_pdrop resid_dropout embd_dropout
    hidden_act hidden_activation activation_function reorder_and_upcast_attn scale_attn_weights n_ctx n_inner
    scale_attn_by_inverse_layer_idx summary_type summary_use_proj summary_activation summary_proj_to_labels
    summary_first_dropout task_specific_params max_window_layers layer_types sliding_window use_sliding_window
    rope_theta rope_scaling rope_parameters rope_local_base_freq head_dim num_key_value_heads rms_norm_eps
    layer_norm_epsilon attention_bias mlp_bias original_max_position_embeddings partial_rotary_factor
    query_pre_attn_scalar final_logit_softcapping attn_logit_softcapping sliding_window_pattern
    _sliding_window_pattern use_bidirectional_attention cache_implementation
"""
# Keys that are read here, by name or by what the tensors show, or that change no logits.


@dataclass(frozen=True)
class Described:
    """A network in GGUF's words."""

    architecture: str
    settings: dict[str, Any]
    """Without the architecture's name before each key."""
    tensors: dict[str, Divisors] = field(default_factory=dict)
    """Tensors that are settings in Hugging Face's words."""


def write_settings(config: Config, place: str, biased: Iterable[str] = ()) -> Described:
    """Return a config in GGUF's words; `biased` are the tensors' names, which show what has a bias.

    Raises ValueError naming the model type or key that llama.cpp has no equal for.
    """
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"{place}: model_type {kind!r} cannot be written as GGUF; {known} can")
    architecture = ARCHITECTURES[str(kind)]
    asked = Needed(config, place)
    _refuse(config, place, architecture)
    settings: dict[str, Any] = {"vocab_size": asked.whole("vocab_size")}
    if architecture == "gpt2":
        settings |= {name: asked.whole(key) for key, name in GPT2.items()}
        settings["feed_forward_length"] = asked.whole("n_inner", 4 * settings["embedding_length"])
        settings["attention.layer_norm_epsilon"] = asked.number("layer_norm_epsilon", 1e-5)
        return Described(architecture, settings)
    settings |= {name: asked.whole(key) for key, name in PLAIN.items()}
    heads, width = settings["attention.head_count"], settings["embedding_length"]
    head = asked.whole("head_dim", width // heads)
    settings["attention.head_count_kv"] = asked.whole("num_key_value_heads", heads)
    settings |= {"attention.key_length": head, "attention.value_length": head}
    settings["attention.layer_norm_rms_epsilon"] = asked.number("rms_norm_eps", 1e-6)
    turned = round(head * asked.number("partial_rotary_factor", 1.0))
    base, local, scaling = _rotary(config, asked)
    settings |= {"rope.dimension_count": turned, "rope.freq_base": base}
    more, tensors = write_scaling(scaling, config, turned, base, place)
    if tensors and architecture not in ("llama", "phi3"):
        raise ValueError(f"{place}: rope_scaling of {kind} has no equal in llama.cpp")
    own = _write_own(architecture, config, asked, local)
    return Described(architecture, settings | more | own, tensors)


def _rotary(config: Config, asked: Needed) -> tuple[float, float | None, Config]:
    """Return the base of rotation, that of layers with a window, and how far it is stretched."""
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    local = config.get("rope_local_base_freq")
    if "full_attention" in given:
        local = given.get("sliding_attention", {}).get("rope_theta", local)
        given = given["full_attention"]
    base = given.get("rope_theta") or asked.number("rope_theta", 10000.0)
    return float(base), local, given


def _write_own(architecture: str, config: Config, asked: Needed, local: float | None) -> dict[str, Any]:
    """Return what only some families say, and refuse what llama.cpp would compute in another way."""
    context = config["max_position_embeddings"]
    if architecture.startswith("gemma"):
        return _write_gemma(architecture, config, asked, local)
    window = config.get("sliding_window")
    if config["model_type"] in ("qwen2", "qwen3") and not config.get("use_sliding_window"):
        window = None
    if "sliding_attention" not in (config.get("layer_types") or ["sliding_attention"]):
        window = None
    if window is not None and window < context:
        raise ValueError(
            f"{asked.place}: sliding_window={window} has no equal in llama.cpp's {architecture}; "
            f"context={window} writes it for texts up to there"
        )
    # llama.cpp asks Phi-3's files for a window and then computes none.
    if architecture != "phi3":
        return {}
    original = asked.whole("original_max_position_embeddings", context)
    return {"attention.sliding_window": 0, "rope.scaling.original_context_length": original}


def _write_gemma(architecture: str, config: Config, asked: Needed, local: float | None) -> dict[str, Any]:
    third = architecture == "gemma3"
    types = config.get("layer_types")
    usual = usual_layers(config["num_hidden_layers"], 6 if third else 2)
    if types is not None and list(types) != usual:
        raise ValueError(f"{asked.place}: layer_types other than the usual have no equal in llama.cpp")
    scalar = config.get("query_pre_attn_scalar", 256)
    if scalar != score_divisor(architecture, config):
        raise ValueError(f"{asked.place}: query_pre_attn_scalar={scalar} has no equal in llama.cpp")
    settings: dict[str, Any] = {"attention.sliding_window": asked.whole("sliding_window", 4096)}
    for key in ("final_logit_softcapping", *(() if third else ("attn_logit_softcapping",))):
        if config.get(key):
            settings[key] = float(config[key])
        elif not third:
            raise ValueError(f"{asked.place}: {key}=null has no equal in llama.cpp's gemma2")
    if third:
        settings["rope.freq_base_swa"] = float(local or 10000.0)
    return settings


def _refuse(config: Config, place: str, architecture: str) -> None:
    """Refuse keys that say something llama.cpp does not compute."""
    known = set(_HARMLESS.split()) | set(PLAIN) | set(GPT2)
    for key, value in config.items():
        if value and key not in known:
            raise ValueError(
                f"{place}: {key}={value!r} has no equal in GGUF; the network cannot be written so"
            )
    gpt2, gemma = architecture == "gpt2", architecture.startswith("gemma")
    key = "activation_function" if gpt2 else "hidden_activation" if gemma else "hidden_act"
    allowed = TANH if gpt2 or gemma else ("silu", "swish")
    wrong = {
        key: config.get(key, allowed[0]) not in allowed,
        "scale_attn_by_inverse_layer_idx": bool(config.get("scale_attn_by_inverse_layer_idx")),
        "scale_attn_weights": config.get("scale_attn_weights") is False,
        "use_bidirectional_attention": bool(config.get("use_bidirectional_attention")),
        "partial_rotary_factor": config.get("partial_rotary_factor") not in (None, 1.0)
        and architecture != "phi3",
    }
    for key, is_wrong in wrong.items():
        if is_wrong:
            raise ValueError(
                f"{place}: {key}={config[key]!r} has no equal in llama.cpp's {architecture}; "
                "the network cannot be written as GGUF"
            )
