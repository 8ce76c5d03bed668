"""rootlm as a contestant: `rootlm train` as a person types it, read from what it writes; its decoding loop.

python -m benchmarks.ours train shape=A steps=120
python -m benchmarks.ours decode streams=16
python -m benchmarks.ours decode streams=8 beams=4
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import Field

from benchmarks import material
from benchmarks.shapes import SHAPES
from rootlm.cli.arguments import parse
from rootlm.core import records
from rootlm.core.config import Config

RUNS = material.FOLDER / "runs"


class Settings(Config):
    what: Literal["train", "learn", "decode", "workers"]
    """What is measured."""
    shape: str = "A"
    """The shape's name."""
    steps: int = 120
    """Optimizer steps."""
    skip: int = 40
    """Steps of warm-up that are not counted."""
    workers: int = 1
    """Processes under torchrun."""
    streams: int = 1
    """How many texts are continued at once."""
    beams: int = 1
    """How many beginnings of each text are kept side by side."""
    prompt_tokens: int = 16
    """Length of the prompt."""
    new_tokens: int = 224
    """How many tokens are generated."""
    seconds: float = 12.0
    """How long decoding is timed."""
    seed: int = 0
    """Start of weights and batches."""
    device: str = "cpu"
    """Where it runs."""
    peak: bool = True
    """Whether the machine's peak is measured in the same run."""
    more: list[str] = Field(default_factory=list)
    """Further words for `rootlm train`."""


def recipe(settings: Settings, folder: Path) -> list[str]:
    """Return the words after `rootlm train`: the shape, the rest as it is by default."""
    shape = SHAPES[settings.shape]
    return [
        str(material.recipe(shape, settings.shape)),
        f"out={folder}",
        f"training.max_steps={settings.steps}",
        f"training.seed={settings.seed}",
        f"training.device={settings.device}",
        *settings.more,
    ]


def run_training(settings: Settings, *more: str) -> tuple[Path, float]:
    """Run `rootlm train` in a process of its own; returns the run folder and the seconds it took in all."""
    folder = RUNS / f"{settings.shape}-{settings.workers}-{settings.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    start = [sys.executable, "-m", "rootlm"]
    if settings.workers > 1:
        start = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={settings.workers}",
        ]
        start += ["-m", "rootlm"]
    started = time.perf_counter()
    done = subprocess.run(
        [*start, "train", *recipe(settings, folder), *more], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError(f"rootlm train failed: {(done.stderr.strip() or done.stdout.strip())[-2000:]}")
    return folder, time.perf_counter() - started


def train(settings: Settings) -> dict[str, float]:
    """Tokens per second of the steps after warm-up, as the run itself recorded them."""
    baseline = import_megabytes()
    folder, _ = run_training(settings)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    kept = [record for record in train_records(folder) if record["step"] > settings.skip]
    found = {
        "tokens_per_second": median(record["tokens_per_second"] for record in kept),
        "peak_megabytes": memory,
        "megabytes_above_import": memory - baseline,
        "steps": float(settings.steps - settings.skip),
    }
    if settings.peak:
        from benchmarks.peak import peak_flops

        shape = SHAPES[settings.shape]
        best = peak_flops(settings.device)
        cost = shape.flops_per_token(parameters(folder))
        found |= {"peak_flops": best, "share_of_peak": found["tokens_per_second"] * cost / best}
    return found


def learn(settings: Settings) -> dict[str, Any]:
    """The validation scores over training seconds: lists `seconds_at`, `bits_per_byte_at`."""
    folder, _ = run_training(settings, "training.eval_steps=25", "validation.tokens=10000000")
    scored = records.of_kind(records.read(folder / "metrics.jsonl"), "validation")
    return {
        "seconds_at": [record["seconds"] for record in scored],
        "bits_per_byte_at": [record["bits_per_byte"] for record in scored],
    }


def decode(settings: Settings) -> dict[str, float]:
    """Tokens of the returned texts per second of whole calls, reading included; threads settled as for generate."""
    from rootlm.core import threads

    threads.settle("generate")
    import torch

    from benchmarks.peak import synchronise
    from benchmarks.same_weights import decoder
    from rootlm.generation import beam, decoding
    from rootlm.generation.sampling import Sampling
    from rootlm.layers.packed import pack

    shape = SHAPES[settings.shape]
    model = decoder(shape).to(settings.device, torch.bfloat16).eval()
    pack(model)  # as `rootlm.load` does
    prompts = torch.randint(1, shape.vocabulary, (settings.streams, settings.prompt_tokens)).tolist()
    sampling = Sampling(temperature=0, max_new_tokens=settings.new_tokens, num_beams=settings.beams)

    def call() -> None:
        if settings.beams > 1:
            beam.search(model, prompts, sampling, decoding.Vocabulary())
        else:
            for _ in decoding.decode(model, prompts, sampling, decoding.Vocabulary()):
                pass
        synchronise(settings.device)

    call()
    call()
    calls, spent = 0, 0.0
    while spent < settings.seconds:
        at = time.perf_counter()
        call()
        spent += time.perf_counter() - at
        calls += 1
    return {"tokens_per_second": calls * settings.streams * settings.new_tokens / spent}


def train_records(folder: Path) -> list[dict[str, Any]]:
    """Return the training records of a run."""
    return records.of_kind(records.read(folder / "metrics.jsonl"), "train")


def parameters(folder: Path) -> int:
    """Return the parameters without input embeddings, the head counted, from the weights on disk."""
    from benchmarks.training import counted
    from rootlm.models.catalog import load_model

    return counted(load_model(folder))


def import_megabytes() -> float:
    """Return the memory of a process that has only imported what training imports."""
    code = (
        "import resource, rootlm.training.trainer, rootlm.runs.recipe;"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    chosen, _ = parse(sys.argv[1:], Settings, positional=["what"])
    work = {"train": train, "learn": learn, "decode": decode, "workers": train}
    print(json.dumps(work[chosen.what](chosen)))
