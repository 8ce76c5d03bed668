"""The peer everybody could write: a small GPT and a plain loop in the manner of nanoGPT.

python -m benchmarks.plain_loop train shape=A compile=default
python -m benchmarks.plain_loop learn shape=A steps=600 learning_rate=1e-3 seed=0
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import tokens
from benchmarks.shapes import SHAPES, Shape
from benchmarks.training import resident_megabytes, timed
from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    what: Literal["train", "learn"]
    """Time the steps, or learn to the end and score the held-out documents."""
    shape: str = "A"
    """The shape's name."""
    seconds: float = 12.0
    """How long is timed, after warm-up."""
    compile: Literal["none", "default", "max-autotune-no-cudagraphs"] = "none"
    """The mode of torch.compile."""
    steps: int = 600
    """Steps of `learn`."""
    learning_rate: float = 1e-3
    """The highest learning rate of `learn`."""
    warmup_steps: int = 50
    """Steps until the highest learning rate."""
    seed: int = 0
    """Start of the weights and of the batches."""
    device: str = "cpu"
    """Where it runs."""
    peak: bool = True
    """Whether the machine's peak is measured in the same run."""


class Block(nn.Module):
    """Attention and feed-forward, each after a norm and added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.first_norm = nn.LayerNorm(shape.width, bias=False)
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)
        self.second_norm = nn.LayerNorm(shape.width, bias=False)
        self.up = nn.Linear(shape.width, 4 * shape.width, bias=False)
        self.down = nn.Linear(4 * shape.width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, time_steps, width = x.shape
        parts = self.qkv(self.first_norm(x)).split(width, dim=2)
        q, k, v = (part.view(batch, time_steps, self.heads, -1).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, time_steps, width))
        deep: Tensor = x + self.down(functional.gelu(self.up(self.second_norm(x))))
        return deep


class PlainGPT(nn.Module):
    """Learned positions, tied head, weights from a normal of 0.02, residual ends scaled down."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.words = nn.Embedding(shape.vocabulary, shape.width)
        self.places = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width, bias=False)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        self.head.weight = self.words.weight
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                ends = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * shape.layers) if ends else 0.02)

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return the mean loss, or logits when no targets are given."""
        x = self.words(ids) + self.places.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(self.norm(x))
        if targets is None:
            return logits
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def training_step(
    settings: Settings, shape: Shape, rate: Callable[[int], float]
) -> tuple[Callable[[], None], PlainGPT]:
    torch.manual_seed(settings.seed)
    model = PlainGPT(shape).to(settings.device)
    run = model if settings.compile == "none" else torch.compile(model, mode=settings.compile)
    matrices = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate(0), betas=(0.9, 0.95), fused=True)
    batches = tokens.windows(shape.vocabulary, shape.context, shape.batch, settings.seed)
    kind = settings.device.split(":")[0]
    done = 0

    def step() -> None:
        nonlocal done
        for group in optimizer.param_groups:
            group["lr"] = rate(done)
        window = torch.from_numpy(next(batches)).to(settings.device, non_blocking=True)
        with torch.autocast(kind, torch.bfloat16):
            loss = run(window[:, :-1], window[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        done += 1

    return step, model


def train(settings: Settings) -> dict[str, float]:
    shape = SHAPES[settings.shape]
    tokens.prepare(shape.vocabulary)
    before = resident_megabytes()
    step, model = training_step(settings, shape, lambda _: 1e-3)
    found = timed(step, shape, model, settings.seconds, settings.device, peak=settings.peak)
    return found | {"megabytes_above_import": found["peak_megabytes"] - before}


def learn(settings: Settings) -> dict[str, float]:
    """Train with warm-up and cosine decay to a tenth; the seconds are those of the steps alone."""
    shape = SHAPES[settings.shape]

    def rate(step: int) -> float:
        if step < settings.warmup_steps:
            return settings.learning_rate * (step + 1) / settings.warmup_steps
        share = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
        return settings.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, share))))

    tokens.prepare(shape.vocabulary)
    step, model = training_step(settings, shape, rate)
    started = time.perf_counter()
    for _ in range(settings.steps):
        step()
    seconds = time.perf_counter() - started
    nats, bits = score(model.eval(), shape)
    return {"seconds": seconds, "validation_loss": nats, "bits_per_byte": bits}


@torch.inference_mode()
def score(model: PlainGPT, shape: Shape) -> tuple[float, float]:
    """Return nats per token and bits per byte of the held-out documents, ends included, strided by half."""
    total, count, size, border = 0.0, 0, 0, tokens.border(shape.vocabulary)
    for ids, document_bytes in tokens.held_out(shape.vocabulary):
        line = torch.tensor([border, *ids, border])
        size += document_bytes
        scored = 0
        for start in range(0, len(line) - 1, shape.context // 2):
            window = line[start : start + shape.context + 1]
            new = start + len(window) - 1 - scored
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(window[None, :-1])[0, -new:]
            total += float(functional.cross_entropy(logits.float(), window[-new:], reduction="sum"))
            scored, count = scored + new, count + new
            if scored == len(line) - 1:
                break
    return total / count, total / math.log(2) / size


if __name__ == "__main__":
    chosen, _ = parse(sys.argv[1:], Settings, positional=["what"])
    print(json.dumps(train(chosen) if chosen.what == "train" else learn(chosen)))
