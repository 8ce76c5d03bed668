"""LSTM training: `rootlm train` beside the loop that everybody could write around `torch.nn.LSTM`.

python -m benchmarks.recurrent ours steps=100
python -m benchmarks.recurrent plain precision=bfloat16 seconds=12
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import contest, material, tokens
from benchmarks.contest import Contest, Contestant, Figure, compared, spread
from rootlm.cli.arguments import parse
from rootlm.core import files, records
from rootlm.core.config import Config

VOCABULARY, WIDTH, LAYERS, ROWS, WINDOW = 8192, 512, 2, 32, 35
LEARNING_RATE, WEIGHT_DECAY, LONGEST_GRADIENT = 1e-3, 0.1, 1.0
RATE = "tokens_per_second"
_CHOICES = {
    "rootlm": ("ours precision=bfloat16", "ours precision=float32"),
    "plain loop": ("plain precision=bfloat16", "plain precision=float32"),
}


class Settings(Config):
    what: Literal["ours", "plain"]
    """Who plays."""
    steps: int = 100
    """Optimizer steps of rootlm; the first fifth warms up."""
    seconds: float = 12.0
    """How long the plain loop is timed, after warm-up."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """The type of the products."""


class PlainLSTM(nn.Module):
    """Embedding, two layers, tied head, as in the examples of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.LSTM(WIDTH, WIDTH, LAYERS)
        self.head = nn.Linear(WIDTH, VOCABULARY)
        nn.init.uniform_(self.words.weight, -0.05, 0.05)
        self.head.weight = self.words.weight

    def forward(
        self, ids: Tensor, targets: Tensor, held: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the mean loss of `ids` (time, rows), and what the rows remember."""
        hidden, held = self.layers(self.words(ids), held)
        logits = self.head(hidden).flatten(0, 1)
        return functional.cross_entropy(logits.float(), targets.flatten()), held


def rows_that_read_on() -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ids and targets (time, rows) of rows that each read a stretch of the training text, again and again."""
    import numpy as np

    flat = torch.from_numpy(np.load(tokens.prepare(VOCABULARY) / "train.npy"))
    length = (len(flat) - 1) // ROWS
    ids = flat[: length * ROWS].view(ROWS, length).t()
    targets = flat[1 : length * ROWS + 1].view(ROWS, length).t()
    while True:
        for start in range(0, length - WINDOW, WINDOW):
            yield ids[start : start + WINDOW], targets[start : start + WINDOW]


def plain(settings: Settings) -> dict[str, float]:
    """Tokens per second of the plain loop after warm-up."""
    model = PlainLSTM()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    batches, held = rows_that_read_on(), None

    def step() -> None:
        nonlocal held
        ids, targets = next(batches)
        before = None if held is None else (held[0].detach(), held[1].detach())
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
            loss, held = model(ids, targets, before)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), LONGEST_GRADIENT)
        optimizer.step()

    for _ in range(5):
        step()
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < settings.seconds:
        step()
        steps += 1
    return {RATE: steps * ROWS * WINDOW / (time.perf_counter() - started)}


def ours(settings: Settings) -> dict[str, float]:
    """Tokens per second of `rootlm train` after warm-up, as the run itself recorded them."""
    recipe, run = material.FOLDER / "lstm.yaml", material.FOLDER / "runs" / "lstm"
    shutil.rmtree(run, ignore_errors=True)
    lines = [
        f"corpus: {material.corpus().folder}",
        f"tokenizer: {material.tokenizer(VOCABULARY)}",
        f"model: {{kind: recurrent, cell: lstm, depth: {LAYERS}, hidden_size: {WIDTH}}}",
        "training:",
        f"  max_steps: {settings.steps}",
        f"  batch_size: {ROWS}",
        f"  window: {WINDOW}",
        "  carry: true",
        "  compile: false",
        f"  precision: {settings.precision}",
        f"  max_grad_norm: {LONGEST_GRADIENT}",
        f"  optimizer: {{kind: adamw, learning_rate: {LEARNING_RATE}, weight_decay: {WEIGHT_DECAY}}}",
        "validation: {split: null}",
    ]
    files.write_text(recipe, "\n".join(lines) + "\n")
    command = [sys.executable, "-m", "rootlm", "train", str(recipe), f"out={run}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"rootlm train failed: {(done.stderr.strip() or done.stdout.strip())[-2000:]}")
    trained = records.of_kind(records.read(run / "metrics.jsonl"), "train")
    return {RATE: median(r[RATE] for r in trained if r["step"] > settings.steps // 5)}


def figure(game: Contest) -> list[Figure]:
    """Return LSTM training in tokens per second, each side in the precision in which it is faster."""
    tokens.prepare(VOCABULARY)
    chosen = {}
    for who, choices in _CHOICES.items():
        waits: tuple[dict[str, str], ...] = ({},) if who == "rootlm" else ({}, {"OMP_WAIT_POLICY": "PASSIVE"})
        players = [
            Contestant(
                " ".join([who, choice, *wait.values()]), ("benchmarks.recurrent", *choice.split()), wait
            )
            for choice in choices
            for wait in waits
        ]
        chosen[who] = game.best_of(players, RATE, **({"steps": 50} if who == "rootlm" else {"seconds": 6}))
    found = game.play(list(chosen.values()))
    runs = {who: found[one.name] for who, one in chosen.items()}
    detail = {
        "spread": {who: spread(one, RATE) for who, one in runs.items()},
        "settings": {who: one.name for who, one in chosen.items()},
        "others_busy": max(run["others_busy"] for one in runs.values() for run in one),
    }
    own, peer = (contest.median(runs[who], RATE) for who in ("rootlm", "plain loop"))
    return [compared("LSTM training", "tokens/s", own, "plain loop", peer, ">= 1", **detail)]


if __name__ == "__main__":
    given, _ = parse(sys.argv[1:], Settings, positional=["what"])
    print(json.dumps(ours(given) if given.what == "ours" else plain(given)))
