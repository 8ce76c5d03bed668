"""Small networks and tokenizers for the tests of GGUF."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from rootlm.models.foreign.foreign_model import ForeignModel, MadeTensors
from rootlm.models.foreign.gguf_splitters import SPLITTERS, cutter

VOCAB_SIZE = 640
_SIZES = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": None,
}
_LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}
_LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
_LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0, 1.0625, 1.125, 1.25, 1.375, 1.5, 1.625, 1.75],
    "long_factor": [1.5, 2.0, 4.0, 6.0, 8.0, 9.0, 10.0, 12.0],
}
_WINDOW = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 8}
_TEXTS = (
    "Hello,~ world~你好~世界~，~。~\n~\r\n~\n\n~ ~  ~   ~\t~'s~'LL~ don't~123~4567~3.14~é~e\u0301~🙂~👍🏽~def f(x):"
    "~    return~<|endoftext|>~こんにちは~한국어~ﬁ~ẞ~İ~\u200b~\u3000~\xa0~…~—~#include <x>~a_b~CamelCase~I'm~WE'RE"
    "~👨\u200d👩\u200d👧~٣٤~Ⅷ~½~_~▁~<0x0A>~<s>"
)
_PIECES = _TEXTS.split("~")
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"rope_theta": 30000.0}),
    "llama with biases": ("Llama", {"attention_bias": True, "mlp_bias": True, "head_dim": 24}),
    "llama 3": ("Llama", {"rope_parameters": _LLAMA3}),
    "linear": ("Llama", {"rope_parameters": _LINEAR}),
    "yarn": ("Llama", {"rope_parameters": _YARN}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "olmo2": ("Olmo2", {}),
    "phi3": ("Phi3", {"sliding_window": None, "original_max_position_embeddings": 256}),
    "phi3 long": (
        "Phi3",
        {
            "sliding_window": None,
            "max_position_embeddings": 1024,
            "original_max_position_embeddings": 512,
            "rope_parameters": _LONGROPE,
        },
    ),
    "gemma2": ("Gemma2", _WINDOW),
    "gemma3": ("Gemma3", {**_WINDOW, "num_hidden_layers": 6}),
    "gpt2": ("GPT2", {}),
}
"""Networks by the name of a test: the class's name, and what sets it apart."""


def network(name: str) -> Any:
    """Return a network of `transformers` in which every parameter is random."""
    kind, own = CONFIGS[name]
    if kind == "GPT2":
        config = transformers.GPT2Config(
            vocab_size=VOCAB_SIZE, n_embd=64, n_layer=2, n_head=4, n_positions=256
        )
        made = transformers.GPT2LMHeadModel(config)
    else:
        text = "Text" if kind == "Gemma3" else ""
        config = getattr(transformers, f"{kind}{text}Config")(**{**_SIZES, **own})
        made = getattr(transformers, f"{kind}ForCausalLM")(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for part, values in made.named_parameters():
            noise = torch.randn(values.shape, generator=generator)
            gain = values.ndim == 1 and not part.endswith("bias")
            values.copy_(1 + 0.3 * noise if gain else (0.5 if "embed" in part else 0.2) * noise)
    return made.eval().float()


def foreign(made: Any, content: str | None = None, **generation: Any) -> ForeignModel:
    """Return a network of `transformers` as the writer takes it."""
    tied = made.config.tie_word_embeddings
    weights = {
        name: one for name, one in made.state_dict().items() if not (tied and name == "lm_head.weight")
    }
    ids = {"bos_token_id": 0, "eos_token_id": 1, **generation}
    return ForeignModel(
        made.config.to_diff_dict() | {"vocab_size": VOCAB_SIZE}, MadeTensors.of(weights), content, None, ids
    )


def strings(count: int, seed: int = 0) -> list[str]:
    """Return texts that are hard to cut: many scripts, marks, spaces, code, and characters at random."""
    source = random.Random(seed)
    likely = [
        (32, 126),
        (0xA0, 0x24F),
        (0x370, 0x5FF),
        (0x4E00, 0x9FFF),
        (0x3000, 0x30FF),
        (0x1F300, 0x1FAFF),
    ]
    anywhere = [(1, 0xD7FF), (0xE000, 0x10FFFF)]

    def drawn(ranges: Sequence[tuple[int, int]]) -> str:
        return "".join(chr(source.randint(*source.choice(ranges))) for _ in range(source.randint(1, 20)))

    ways = (
        lambda: "".join(source.choice(_PIECES) for _ in range(source.randint(1, 12))),
        lambda: drawn(likely),
        lambda: drawn(anywhere),
    )
    return [ways[number % 3]() for number in range(count)]


@cache
def byte_pairs(pre: str, vocab_size: int = VOCAB_SIZE) -> str:
    """Return a `tokenizer.json` of byte pairs, cut as llama.cpp cuts under this name."""
    engine = tokenizers.Tokenizer(models.BPE())
    spec = json.loads(engine.to_str())
    spec["pre_tokenizer"] = cutter(SPLITTERS[pre])
    spec["decoder"] = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    engine = tokenizers.Tokenizer.from_str(json.dumps(spec))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    engine.train_from_iterator(strings(1500, seed=1), trainer)
    trained = json.loads(engine.to_str())
    trained["model"]["ignore_merges"] = SPLITTERS[pre].ignore_merges
    return json.dumps(trained)


@cache
def scored_pieces(*, prefix: bool, entries: int = 600) -> str:
    """Return a `tokenizer.json` as Llama 2 has it: pairs of characters, spaces as marks, rare ones as bytes."""
    names = [f"<0x{byte:02X}>" for byte in range(256)]
    engine = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    steps = [normalizers.Prepend("▁")] if prefix else []
    engine.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    engine.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(
        vocab_size=entries,
        special_tokens=["<unk>", "<s>", "</s>", *names],
        limit_alphabet=100,
        show_progress=False,
    )
    # Pieces that spell the name of a mark would make it of plain text, in llama.cpp too.
    engine.train_from_iterator([re.sub("[<>]", "", text) for text in strings(1500, seed=1)], trainer)
    spec = json.loads(engine.to_str())
    spec["pre_tokenizer"] = None
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] not in names]
    spec["decoder"] = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    marked = {token["content"] for token in spec["added_tokens"]} | set(names)
    common = set(spec["model"]["vocab"]) - marked
    assert len(spec["model"]["merges"]) > 100
    ranked = dict.fromkeys(left + right for left, right in spec["model"]["merges"])
    spec["model"]["merges"] = [
        [entry[:cut], entry[cut:]]
        for entry in ranked
        for cut in range(len(entry) - 1, 0, -1)
        if entry[:cut] in common and entry[cut:] in common
    ]
    return json.dumps(spec)


def plain_engine(content: str) -> Any:
    """Return the engine of a `tokenizer.json`, to which the names of special tokens are text."""
    engine = tokenizers.Tokenizer.from_str(content)
    engine.encode_special_tokens = True
    return engine


def one_line(error: BaseException) -> bool:
    """Tell whether an error says all in one line."""
    return re.search(r"[\r\n]", str(error)) is None
