"""A network's sizes as GGUF's settings and as Hugging Face's config, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rootlm.models.foreign.gguf_names import LAYERS
from rootlm.models.foreign.gguf_rotary import Divisors, read_scaling, write_scaling

Config = Mapping[str, Any]
CLASSES = {
    "llama": ("llama", "LlamaForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
    "olmo2": ("olmo2", "Olmo2ForCausalLM"),
    "phi3": ("phi3", "Phi3ForCausalLM"),
    "gemma2": ("gemma2", "Gemma2ForCausalLM"),
    "gemma3": ("gemma3_text", "Gemma3ForCausalLM"),
    "gpt2": ("gpt2", "GPT2LMHeadModel"),
}
"""Hugging Face's model type and class, by GGUF's name of the architecture."""
ARCHITECTURES = {kind: name for name, (kind, _) in CLASSES.items()} | {"mistral": "llama"}
_HEAD_SIZES = ("llama", "qwen3", "gemma2", "gemma3")
# Those whose config says how wide a head is.
_TANH = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
_PLAIN = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
    "num_attention_heads": "attention.head_count",
}
_GPT2 = {
    "n_embd": "embedding_length",
    "n_layer": "block_count",
    "n_head": "attention.head_count",
    "n_positions": "context_length",
}
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
    needed = _Needed(settings, place)
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
        sizes = {key: needed.whole(name) for key, name in _GPT2.items()}
        inner, eps = needed.whole("feed_forward_length"), needed.number("attention.layer_norm_epsilon")
        return {
            **config,
            **sizes,
            "n_inner": None if inner == 4 * sizes["n_embd"] else inner,
            "layer_norm_epsilon": eps,
            "activation_function": "gelu_new",
        }
    sizes = {key: needed.whole(name) for key, name in _PLAIN.items()}
    heads, width = sizes["num_attention_heads"], sizes["hidden_size"]
    if not 1 <= heads <= width:
        raise ValueError(f"{place}: attention.head_count is {heads}, expected 1 to {width}; the header lies")
    config |= sizes
    config["num_key_value_heads"] = needed.whole("attention.head_count_kv", heads)
    head = needed.whole("attention.key_length", width // heads)
    if head != width // heads or architecture in _HEAD_SIZES:
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
    architecture: str, needed: _Needed, config: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]
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


def _read_gemma(architecture: str, needed: _Needed, config: Mapping[str, Any]) -> dict[str, Any]:
    third = architecture == "gemma3"
    own: dict[str, Any] = {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": _scalar(architecture, config),
        "sliding_window": needed.whole("attention.sliding_window", 1024 if third else 4096),
        "final_logit_softcapping": needed.number("final_logit_softcapping", 0.0 if third else 30.0) or None,
        "layer_types": _layer_types(config["num_hidden_layers"], 6 if third else 2),
    }
    if third:
        own["rope_local_base_freq"] = needed.number("rope.freq_base_swa", 10000.0)
    else:
        own["attn_logit_softcapping"] = needed.number("attn_logit_softcapping", 50.0) or None
    return own


def write_settings(config: Config, place: str, biased: Iterable[str] = ()) -> Described:
    """Return a config in GGUF's words; `biased` are the tensors' names, which show what has a bias.

    Raises ValueError naming the model type or key that llama.cpp has no equal for.
    """
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"{place}: model_type {kind!r} cannot be written as GGUF; {known} can")
    architecture = ARCHITECTURES[str(kind)]
    asked = _Needed(config, place)
    _refuse(config, place, architecture)
    settings: dict[str, Any] = {"vocab_size": asked.whole("vocab_size")}
    if architecture == "gpt2":
        settings |= {name: asked.whole(key) for key, name in _GPT2.items()}
        settings["feed_forward_length"] = asked.whole("n_inner", 4 * settings["embedding_length"])
        settings["attention.layer_norm_epsilon"] = asked.number("layer_norm_epsilon", 1e-5)
        return Described(architecture, settings)
    settings |= {name: asked.whole(key) for key, name in _PLAIN.items()}
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


def _rotary(config: Config, asked: _Needed) -> tuple[float, float | None, Config]:
    """Return the base of rotation, that of layers with a window, and how far it is stretched."""
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    local = config.get("rope_local_base_freq")
    if "full_attention" in given:
        local = given.get("sliding_attention", {}).get("rope_theta", local)
        given = given["full_attention"]
    base = given.get("rope_theta") or asked.number("rope_theta", 10000.0)
    return float(base), local, given


def _write_own(architecture: str, config: Config, asked: _Needed, local: float | None) -> dict[str, Any]:
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


def _write_gemma(architecture: str, config: Config, asked: _Needed, local: float | None) -> dict[str, Any]:
    third = architecture == "gemma3"
    types = config.get("layer_types")
    usual = _layer_types(config["num_hidden_layers"], 6 if third else 2)
    if types is not None and list(types) != usual:
        raise ValueError(f"{asked.place}: layer_types other than the usual have no equal in llama.cpp")
    scalar = config.get("query_pre_attn_scalar", 256)
    if scalar != _scalar(architecture, config):
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


def _scalar(architecture: str, config: Config) -> int:
    """Return what scores are divided by the root of: llama.cpp tells the 27B networks by their depth."""
    largest = {"gemma2": 46, "gemma3": 62}[architecture]
    if config["num_hidden_layers"] == largest:
        return int(config["hidden_size"] // config["num_attention_heads"])
    return int(config.get("head_dim", 256))


def _layer_types(depth: int, every: int) -> list[str]:
    return ["sliding_attention" if (layer + 1) % every else "full_attention" for layer in range(depth)]


def _refuse(config: Config, place: str, architecture: str) -> None:
    """Refuse keys that say something llama.cpp does not compute."""
    known = set(_HARMLESS.split()) | set(_PLAIN) | set(_GPT2)
    for key, value in config.items():
        if value and key not in known:
            raise ValueError(
                f"{place}: {key}={value!r} has no equal in GGUF; the network cannot be written so"
            )
    gpt2, gemma = architecture == "gpt2", architecture.startswith("gemma")
    key = "activation_function" if gpt2 else "hidden_activation" if gemma else "hidden_act"
    allowed = _TANH if gpt2 or gemma else ("silu", "swish")
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


class _Needed:
    """Settings that must be there and be numbers."""

    def __init__(self, given: Mapping[str, Any], place: str) -> None:
        self._given, self.place = given, place

    def whole(self, key: str, default: int | None = None) -> int:
        value = self._value(key, default)
        if isinstance(value, list) and value and len(set(value)) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{self.place}: {key} is {value!r}, expected one whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{self.place}: {key} is {value!r}, expected a number")
        return float(value)

    def _value(self, key: str, default: float | None) -> Any:
        value = self._given.get(key)
        value = default if value is None else value
        if value is None:
            raise ValueError(f"{self.place}: {key} is missing; the file is not whole")
        return value
