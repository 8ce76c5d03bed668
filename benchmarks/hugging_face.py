"""The peer `transformers`: a Llama of the same shape, trained as its Trainer does and decoding by `generate`.

python -m benchmarks.hugging_face train shape=A attention=sdpa compile=none
python -m benchmarks.hugging_face decode streams=16 cache=static
python -m benchmarks.hugging_face decode streams=8 beams=4
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Literal

import torch

from benchmarks import tokens
from benchmarks.peak import synchronise
from benchmarks.shapes import SHAPES, Shape
from benchmarks.training import resident_megabytes, timed
from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    what: Literal["train", "decode"]
    """What is measured."""
    shape: str = "A"
    """The shape's name."""
    seconds: float = 12.0
    """How long is timed, after warm-up."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    """The attention implementation."""
    compile: Literal["none", "default", "max-autotune-no-cudagraphs"] = "none"
    """The mode of torch.compile for the model's forward."""
    streams: int = 1
    """How many texts are continued at once."""
    beams: int = 1
    """How many beginnings of each text are kept side by side."""
    cache: Literal["dynamic", "static"] = "dynamic"
    """The cache of `generate`."""
    prompt_tokens: int = 16
    """Length of the prompt."""
    new_tokens: int = 224
    """How many tokens are generated."""
    device: str = "cpu"
    """Where it runs."""
    peak: bool = True
    """Whether the machine's peak is measured in the same run."""


def build(shape: Shape, attention: str, dtype: torch.dtype = torch.float32) -> Any:
    """Return the Llama of a shape, with fresh weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    options: dict[str, Any] = {"attn_implementation": attention}
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied,
        rms_norm_eps=1e-5,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=None,
        **options,
    )
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(config)
    return model.to(dtype)


def training_step(settings: Settings, shape: Shape) -> tuple[Callable[[], None], Any]:
    """Return one step as the Trainer does it: autocast, fused AdamW, clipping by norm, linear decay."""
    model = build(shape, settings.attention).to(settings.device).train()
    run = model if settings.compile == "none" else torch.compile(model, mode=settings.compile)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step / 1e6))
    batches = tokens.windows(shape.vocabulary, shape.context - 1, shape.batch)
    kind = settings.device.split(":")[0]

    def step() -> None:
        ids = torch.from_numpy(next(batches)).to(settings.device, non_blocking=True)
        with torch.autocast(kind, torch.bfloat16):
            loss = run(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

    return step, model


def train(settings: Settings) -> dict[str, float]:
    shape = SHAPES[settings.shape]
    tokens.prepare(shape.vocabulary)
    import transformers  # noqa: F401 - its own imports are not the model's memory

    before = resident_megabytes()
    step, model = training_step(settings, shape)
    found = timed(step, shape, model, settings.seconds, settings.device, peak=settings.peak)
    return found | {"megabytes_above_import": found["peak_megabytes"] - before}


def decode(settings: Settings) -> dict[str, float]:
    """Tokens of the returned texts per second over whole calls of `generate`, the prompt's reading included."""
    shape = SHAPES[settings.shape]
    model = build(shape, settings.attention, torch.bfloat16).to(settings.device).eval()
    prompt = torch.randint(
        1, shape.vocabulary, (settings.streams, settings.prompt_tokens), device=settings.device
    )
    options: dict[str, Any] = {"max_new_tokens": settings.new_tokens, "do_sample": False, "use_cache": True}
    options["num_beams"] = settings.beams
    if settings.cache == "static":
        options["cache_implementation"] = "static"
    if settings.compile != "none":
        model.forward = torch.compile(
            model.forward, mode=settings.compile, dynamic=settings.cache == "dynamic"
        )
    calls, spent = 0, 0.0
    with torch.inference_mode():
        for _ in range(2):
            model.generate(prompt, attention_mask=torch.ones_like(prompt), **options)
        while spent < settings.seconds:
            at = time.perf_counter()
            model.generate(prompt, attention_mask=torch.ones_like(prompt), **options)
            synchronise(settings.device)
            spent += time.perf_counter() - at
            calls += 1
    return {"tokens_per_second": calls * settings.streams * settings.new_tokens / spent}


if __name__ == "__main__":
    chosen, _ = parse(sys.argv[1:], Settings, positional=["what"])
    print(json.dumps(train(chosen) if chosen.what == "train" else decode(chosen)))
