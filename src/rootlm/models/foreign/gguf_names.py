"""What GGUF calls the tensors of each architecture, and how they lie differently from `transformers`'."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Turn:
    """A change of one tensor and what takes it back."""

    read: Callable[[Tensor], Tensor]
    """Makes GGUF's Hugging Face's."""
    write: Callable[[Tensor], Tensor]
    """Makes Hugging Face's GGUF's."""
    groups: int = 1
    """How many groups of rows there must be, all of one size."""


@dataclass(frozen=True)
class Named:
    """One tensor of Hugging Face: where it lies in a GGUF file, and how."""

    name: str
    gguf: str
    turn: Turn | None = None
    expert: int | None = None
    """Its place along the first axis, where GGUF lays all experts in one tensor."""


TRANSPOSED = Turn(lambda given: given.mT, lambda given: given.mT)
ABOUT_ONE = Turn(lambda given: given - 1, lambda given: given + 1)
"""Gains that Hugging Face writes as their distance from one."""


def rotary(heads: int) -> Turn:
    """Return what reorders rows of queries or keys: GGUF turns neighbours, Hugging Face one half with the other."""

    def read(given: Tensor) -> Tensor:
        return given.reshape(heads, -1, 2, *given.shape[1:]).transpose(1, 2).reshape(given.shape)

    def write(given: Tensor) -> Tensor:
        return given.reshape(heads, 2, -1, *given.shape[1:]).transpose(1, 2).reshape(given.shape)

    return Turn(read, write, 2 * heads)


def _ends(turn: Turn | None = None) -> list[tuple[str, str, Turn | None]]:
    return [
        ("model.embed_tokens.weight", "token_embd.weight", None),
        ("model.norm.weight", "output_norm.weight", turn),
        ("lm_head.weight", "output.weight", None),
    ]


def _layer(
    norms: Mapping[str, str], *, gains: Turn | None = None, q: Turn | None = None, k: Turn | None = None
) -> list[tuple[str, str, Turn | None]]:
    """Return the parts of a layer as Llama and its kin name them."""
    parts: list[tuple[str, str, Turn | None]] = [
        (f"{theirs}.weight", f"{name}.weight", gains) for name, theirs in norms.items()
    ]
    linear = {
        "attn_q": ("self_attn.q_proj", q),
        "attn_k": ("self_attn.k_proj", k),
        "attn_v": ("self_attn.v_proj", None),
        "attn_qkv": ("self_attn.qkv_proj", None),
        "attn_output": ("self_attn.o_proj", None),
        "ffn_gate": ("mlp.gate_proj", None),
        "ffn_down": ("mlp.down_proj", None),
    }
    for name, (theirs, turn) in linear.items():
        parts += [(f"{theirs}.{kind}", f"{name}.{kind}", turn) for kind in ("weight", "bias")]
    return parts


_TWO_NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_AFTER = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
_AROUND = {"attn_norm": "input_layernorm", "ffn_norm": "pre_feedforward_layernorm", **_AFTER}
_UP = [(f"mlp.up_proj.{kind}", f"ffn_up.{kind}", None) for kind in ("weight", "bias")]


def _llama(config: Config) -> list[tuple[str, str, Turn | None]]:
    heads = config["num_attention_heads"]
    keys = config.get("num_key_value_heads") or heads
    return [*_layer(_TWO_NORMS, q=rotary(heads), k=rotary(keys)), *_UP]


def _phi3(config: Config) -> list[tuple[str, str, Turn | None]]:
    return [*_layer(_TWO_NORMS), ("mlp.gate_up_proj.weight", "ffn_up.weight", None)]


def _gpt2(config: Config) -> list[tuple[str, str, Turn | None]]:
    parts: list[tuple[str, str, Turn | None]] = []
    for name, theirs in {"attn_norm": "ln_1", "ffn_norm": "ln_2"}.items():
        parts += [(f"{theirs}.{kind}", f"{name}.{kind}", None) for kind in ("weight", "bias")]
    linear = {
        "attn_qkv": "attn.c_attn",
        "attn_output": "attn.c_proj",
        "ffn_up": "mlp.c_fc",
        "ffn_down": "mlp.c_proj",
    }
    for name, theirs in linear.items():
        parts += [
            (f"{theirs}.weight", f"{name}.weight", TRANSPOSED),
            (f"{theirs}.bias", f"{name}.bias", None),
        ]
    return parts


_GPT2_ENDS: list[tuple[str, str, Turn | None]] = [
    ("transformer.wte.weight", "token_embd.weight", None),
    ("transformer.wpe.weight", "position_embd.weight", None),
    ("transformer.ln_f.weight", "output_norm.weight", None),
    ("transformer.ln_f.bias", "output_norm.bias", None),
    ("lm_head.weight", "output.weight", None),
]

LAYERS: Mapping[str, Callable[[Config], Sequence[tuple[str, str, Turn | None]]]] = {
    "llama": _llama,
    "qwen2": lambda config: [*_layer(_TWO_NORMS), *_UP],
    "qwen3": lambda config: [*_layer(_TWO_NORMS | _HEAD_NORMS), *_UP],
    "olmo2": lambda config: [*_layer(_AFTER | _HEAD_NORMS), *_UP],
    "gemma2": lambda config: [*_layer(_AROUND, gains=ABOUT_ONE), *_UP],
    "gemma3": lambda config: [*_layer(_AROUND | _HEAD_NORMS, gains=ABOUT_ONE), *_UP],
    "phi3": _phi3,
    "gpt2": _gpt2,
}
"""The parts of a layer by GGUF's name of the architecture: Hugging Face's name, GGUF's, the change."""


def names(architecture: str, config: Config) -> Iterator[Named]:
    """Yield every tensor that a network of this config may have."""
    gpt2 = architecture == "gpt2"
    gains = ABOUT_ONE if architecture.startswith("gemma") else None
    for theirs, gguf, turn in _GPT2_ENDS if gpt2 else _ends(gains):
        yield Named(theirs, gguf, turn)
    stem = "transformer.h" if gpt2 else "model.layers"
    depth = config["n_layer"] if gpt2 else config["num_hidden_layers"]
    parts = LAYERS[architecture](config)
    for layer in range(depth):
        for theirs, gguf, turn in parts:
            yield Named(f"{stem}.{layer}.{theirs}", f"blk.{layer}.{gguf}", turn)
