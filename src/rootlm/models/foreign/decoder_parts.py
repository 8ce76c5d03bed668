"""What the configs and names of most published decoders have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rootlm.layers.attention import AttentionConfig
from rootlm.layers.feedforward import (
    GeGLUConfig,
    GeLUConfig,
    ReLU2Config,
    ReLUConfig,
    SiLUConfig,
    SwiGLUConfig,
)
from rootlm.layers.mixture import FeedForwardConfig, MixtureConfig
from rootlm.layers.norms import RMSNormConfig
from rootlm.layers.positions import RotaryConfig
from rootlm.models.decoder import DecoderConfig
from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import Rule

MOST_LAYERS = 4096
TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
BUFFERS = (r"\.rotary_emb\.inv_freq$",)
_NORMS = {"attention_norm": "input_layernorm", "feedforward_norm": "post_attention_layernorm"}


def sizes(given: Given, *, n_kv_heads: int | None = None, head_size: int | None = None) -> dict[str, Any]:
    """Read the sizes that Llama-like configs share; the family's own stand in for what is not given."""
    n_heads = given.whole("num_attention_heads")
    width = given.whole("hidden_size")
    return {
        "preset": "llama",
        "depth": given.whole("num_hidden_layers", most=MOST_LAYERS),
        "hidden_size": width,
        "n_heads": n_heads,
        "n_kv_heads": given.whole("num_key_value_heads", n_kv_heads or n_heads),
        "head_size": given.whole("head_dim", head_size or max(1, width // n_heads)),
    }


def rms_norm(given: Given, eps: float = 1e-6, *, about_one: bool = False) -> RMSNormConfig:
    """Read the norm of the stream."""
    return RMSNormConfig(eps=given.positive("rms_norm_eps", eps), about_one=about_one)


def swiglu(given: Given, *, bias: bool = False) -> SwiGLUConfig:
    """Read the gated part that most have."""
    given.only("hidden_act", "silu", "swish", default="silu")
    return SwiGLUConfig(size=given.whole("intermediate_size"), bias=bias)


def windows(given: Given, depth: int, window: int | None, *, full: Sequence[int] = ()) -> dict[str, Any]:
    """Return which layers see all: those that `layer_types` says, else `full`; with the window of the others."""
    named = given.get("layer_types")
    if named is not None:
        known = ("full_attention", "sliding_attention")
        if not isinstance(named, list) or len(named) != depth or any(kind not in known for kind in named):
            raise given.lacks("layer_types", named)
        full = [layer for layer, kind in enumerate(named) if kind == "full_attention"]
    if window is None or len(full) == depth:
        return {"window": None, "full_layers": ()}
    return {"window": window, "full_layers": tuple(sorted(full))}


def write_common(config: DecoderConfig) -> dict[str, Any]:
    """Write what `sizes`, `rms_norm` and the gated part read."""
    norm, inner = config.norm, inner_of(config.feedforward)
    return {
        "hidden_size": config.hidden_size,
        "intermediate_size": inner_size(inner, config.hidden_size),
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_size,
        "hidden_act": "silu",
        "rms_norm_eps": getattr(norm, "eps", None),
        "tie_word_embeddings": bool(config.tied),
    }


def write_layer_types(config: DecoderConfig) -> list[str]:
    """Return what each layer sees."""
    assert config.attention is not None
    full = set(range(config.depth)) if config.attention.window is None else set(config.full_layers)
    return ["full_attention" if layer in full else "sliding_attention" for layer in range(config.depth)]


def inner_of(feedforward: FeedForwardConfig | None) -> Any:
    """Return the feed-forward part that is not a mixture."""
    return feedforward.expert if isinstance(feedforward, MixtureConfig) else feedforward


def inner_size(part: Any, width: int | None) -> int:
    """Return a feed-forward part's inner width, written out."""
    assert width is not None
    if part.size is not None:
        return int(part.size)
    gated = isinstance(part, SwiGLUConfig | GeGLUConfig)
    return -(-width * 8 // 3 // 64) * 64 if gated else 4 * width


def canonical(config: DecoderConfig) -> DecoderConfig:
    """Return the settings that give the same network, all written out in one way, those of training left out."""
    config = config.resolved()
    assert config.attention is not None and config.head_size and config.feedforward is not None
    attention, feedforward = config.attention, config.feedforward
    changed: dict[str, Any] = {}
    changed["out_bias"] = attention.bias if attention.out_bias is None else attention.out_bias
    if attention.scale is not None and abs(attention.scale * config.head_size**0.5 - 1) < 1e-9:
        changed["scale"] = None
    if not attention.qk_norm:
        plain = AttentionConfig()
        names = ("qk_norm_eps", "qk_norm_whole", "qk_norm_about_one")
        changed |= {name: getattr(plain, name) for name in names}
    if isinstance(feedforward, MixtureConfig):
        expert = _sized(feedforward.expert, config.hidden_size)
        feedforward = feedforward.model_copy(update={"expert": expert})
    else:
        feedforward = _sized(feedforward, config.hidden_size)
    updates = {
        "preset": "llama",
        "attention": attention.model_copy(update=changed),
        "feedforward": feedforward,
        "full_layers": () if attention.window is None else tuple(sorted(set(config.full_layers))),
        "dropout": 0.0,
        "activation_checkpointing": False,
    }
    return config.model_copy(update=updates)


def _sized(part: Any, width: int | None) -> Any:
    return part.model_copy(update={"size": inner_size(part, width)})


def layers_of(config: DecoderConfig) -> dict[str, int]:
    """Return what stands in braces in the rules."""
    feedforward = config.feedforward
    experts = feedforward.experts if isinstance(feedforward, MixtureConfig) else 0
    return {"layer": config.depth, "expert": experts}


def llama_rules(
    config: DecoderConfig,
    *,
    norms: dict[str, str] = _NORMS,
    fused: bool = False,
) -> list[Rule]:
    """Return the rules of the names that Llama gave; `fused` where qkv and gate and up are one, as in Phi-3."""
    attention = config.attention
    assert attention is not None and config.n_heads and config.n_kv_heads and config.head_size
    block, own = "model.layers.{layer}.", "blocks.{layer}."
    heads, shared = config.n_heads * config.head_size, config.n_kv_heads * config.head_size
    qkv = Rule(f"{own}attention.qkv.weight", (f"{block}self_attn.qkv_proj.weight",))
    if not fused:
        parts = tuple(f"{block}self_attn.{part}_proj.weight" for part in "qkv")
        qkv = Rule(f"{own}attention.qkv.weight", parts, (heads, shared, shared))
    rules = [
        Rule("embedding.weight", ("model.embed_tokens.weight",)),
        Rule("norm.weight", ("model.norm.weight",)),
        Rule("head.weight", ("lm_head.weight",)),
        qkv,
        Rule(f"{own}attention.out.weight", (f"{block}self_attn.o_proj.weight",)),
        *(Rule(f"{own}{ours}.weight", (f"{block}{theirs}.weight",)) for ours, theirs in norms.items()),
    ]
    if attention.bias:
        rules.append(_with_biases(qkv))
    if attention.bias if attention.out_bias is None else attention.out_bias:
        rules.append(Rule(f"{own}attention.out.bias", (f"{block}self_attn.o_proj.bias",)))
    if attention.qk_norm:
        rules += [
            Rule(f"{own}attention.{n}", (f"{block}self_attn.{n}.weight",)) for n in ("q_norm", "k_norm")
        ]
    if not isinstance(config.feedforward, MixtureConfig):
        rules += gated_rules(config, f"{own}feedforward.", f"{block}mlp.", fused=fused)
    return rules


def gated_rules(config: DecoderConfig, ours: str, theirs: str, *, fused: bool = False) -> list[Rule]:
    """Return the rules of a gated part."""
    part = inner_of(config.feedforward)
    inner = inner_size(part, config.hidden_size)
    up = Rule(f"{ours}up.weight", (f"{theirs}gate_up_proj.weight",))
    if not fused:
        up = Rule(
            f"{ours}up.weight", (f"{theirs}gate_proj.weight", f"{theirs}up_proj.weight"), (inner, inner)
        )
    rules = [up, Rule(f"{ours}down.weight", (f"{theirs}down_proj.weight",))]
    return [*rules, *map(_with_biases, rules)] if part.bias else rules


def _with_biases(rule: Rule) -> Rule:
    """Return the rule of the biases beside a rule of weights."""
    theirs = tuple(name.removesuffix("weight") + "bias" for name in rule.theirs)
    return Rule(rule.ours.removesuffix("weight") + "bias", theirs, rule.heights)


def plain_part(given: Given, key: str, size: int, *, bias: bool, default: str) -> FeedForwardConfig:
    """Read a feed-forward part without a gate by the name of its activation."""
    name = given.get(key, default)
    if name in TANH_GELU:
        return GeLUConfig(size=size, bias=bias, approximate="tanh")
    if name == "gelu":
        return GeLUConfig(size=size, bias=bias, approximate="none")
    if name in ("silu", "swish"):
        return SiLUConfig(size=size, bias=bias)
    if name == "relu":
        return ReLUConfig(size=size, bias=bias)
    if name == "relu2":
        return ReLU2Config(size=size, bias=bias)
    raise given.lacks(key, name)


def write_plain_part(part: Any) -> str:
    """Return the name of the activation that `plain_part` reads so."""
    if isinstance(part, GeLUConfig):
        return "gelu_new" if part.approximate == "tanh" else "gelu"
    return str(part.kind)


def turns(config: DecoderConfig) -> RotaryConfig:
    """Return rotary positions, or some where the network has others, which a comparison then finds."""
    return config.position if isinstance(config.position, RotaryConfig) else RotaryConfig()
