"""The words that GGUF and Hugging Face have for the same settings of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
HEAD_SIZES = ("llama", "qwen3", "gemma2", "gemma3")
"""Architectures whose config says how wide a head is."""
TANH = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")
"""Names of the GELU that is made with tanh."""
PLAIN = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
    "num_attention_heads": "attention.head_count",
}
GPT2 = {
    "n_embd": "embedding_length",
    "n_layer": "block_count",
    "n_head": "attention.head_count",
    "n_positions": "context_length",
}


def score_divisor(architecture: str, config: Config) -> int:
    """Return what scores are divided by the root of: llama.cpp tells the 27B networks by their depth."""
    largest = {"gemma2": 46, "gemma3": 62}[architecture]
    if config["num_hidden_layers"] == largest:
        return int(config["hidden_size"] // config["num_attention_heads"])
    return int(config.get("head_dim", 256))


def usual_layers(depth: int, every: int) -> list[str]:
    """Return which layers have a window: all but one of `every`."""
    return ["sliding_attention" if (layer + 1) % every else "full_attention" for layer in range(depth)]


class Needed:
    """Settings that must be there and be numbers."""

    def __init__(self, given: Mapping[str, Any], place: str) -> None:
        self._given, self.place = given, place

    def whole(self, key: str, default: int | None = None) -> int:
        """Return a whole number from 0 on, or one that a list repeats."""
        value = self._value(key, default)
        if isinstance(value, list) and value and len(set(value)) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{self.place}: {key} is {value!r}, expected one whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a number."""
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
