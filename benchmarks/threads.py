"""How OpenMP threads should wait: a training step and a decoding loop, idle and crowded, per policy.

    python benchmarks/threads.py cores=[0,1] rounds=3 out=threads.jsonl

Every policy runs in its own process, pinned to the given cores, beside 0, 1, … busy processes pinned to the
same cores; policies are interleaved within a round. A run during which strangers took more than `strangers`
of the cores is repeated. The tables show medians over rounds, as a share of the default policy's idle rate.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from rootlm.cli.arguments import parse
from rootlm.core.config import Config

POLICIES: dict[str, dict[str, str]] = {
    "torch's default": {},
    "PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    **{
        f"{count} spins": {"GOMP_SPINCOUNT": str(count)}
        for count in (100, 1000, 3000, 10_000, 30_000, 100_000)
    },
    "1 thread": {"OMP_NUM_THREADS": "1"},
}
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
TICKS = os.sysconf("SC_CLK_TCK")


class Settings(Config):
    cores: Sequence[int] = (0, 1)
    """The cores that everything is pinned to."""
    busy: Sequence[int] = (0, 1, 2)
    """How many busy processes run beside the worker."""
    rounds: int = 3
    seconds: float = 2.5
    """Measured seconds of each kind of work in a run."""
    strangers: float = 0.1
    """The largest share of the cores that other processes may take."""
    policies: dict[str, dict[str, str]] = POLICIES
    """Environment variables by name of policy."""
    out: str | None = None
    """Append one JSON line per run to this file."""
    worker: bool = False
    """Do the work and print its rates; how the script calls itself."""


def main() -> None:
    """Measure every policy, then print the tables."""
    settings, _ = parse(sys.argv[1:], Settings)
    if settings.worker:
        sys.stdout.buffer.write(orjson.dumps(work(settings)))
        return
    os.sched_setaffinity(0, settings.cores)
    runs: list[dict[str, object]] = []
    for turn in range(settings.rounds):
        for busy in settings.busy:
            for name, environment in settings.policies.items():
                run = {"policy": name, "busy": busy, "turn": turn, **measure(settings, busy, environment)}
                runs.append(run)
                line = orjson.dumps(run).decode()
                print(line, file=sys.stderr, flush=True)
                if settings.out:
                    with Path(settings.out).open("a", encoding="utf-8") as stream:
                        stream.write(line + "\n")
    for kind in ("train", "decode"):
        print_table(kind, runs, settings)


def measure(settings: Settings, busy: int, environment: dict[str, str]) -> dict[str, float]:
    """Return the rates of a run in which strangers left the cores alone, or of the quietest of several."""
    tries: list[dict[str, float]] = []
    while (
        len(tries) < 6 and min((run["strangers"] for run in tries), default=float("inf")) > settings.strangers
    ):
        tries.append(measure_once(settings, busy, environment))
    return min(tries, key=lambda run: run["strangers"])


def measure_once(settings: Settings, busy: int, environment: dict[str, str]) -> dict[str, float]:
    """Run the worker beside `busy` busy processes; strangers' share is what nobody of ours accounts for."""

    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    ours, all_of_it, started = children_seconds(), core_seconds(settings.cores), time.perf_counter()
    rivals = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        pinned = f"cores={list(settings.cores)}"
        command = [sys.executable, __file__, "worker=true", f"seconds={settings.seconds}", pinned]
        output = subprocess.check_output(command, env=clean | environment)
    finally:
        for rival in rivals:
            rival.kill()
            rival.wait()
    elapsed = time.perf_counter() - started
    rates = orjson.loads(output)
    strange = core_seconds(settings.cores) - all_of_it - (children_seconds() - ours)
    # While nobody is busy, the worker itself sees who else was on its cores while it was measured.
    others = rates.pop("others") if not busy else strange / elapsed / len(settings.cores)
    return {**rates, "strangers": max(0.0, others)}


def children_seconds() -> float:
    """Return the CPU seconds of all ended children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def core_seconds(cores: Sequence[int]) -> float:
    """Return the busy seconds of the cores since the machine started."""
    busy = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, _, _, irq, soft, *_ = map(int, fields)
            busy += user + nice + system + irq + soft
    return busy / TICKS


def work(settings: Settings) -> dict[str, float]:
    """Return training steps and decoding steps per second, and the others' share of the cores meanwhile."""
    import torch

    torch.manual_seed(0)
    train, decode = training_step(), decoding_step()
    began, ours, everybody = time.perf_counter(), time.process_time(), core_seconds(settings.cores)
    rates = {"train": rate(train, settings.seconds), "decode": rate(decode, settings.seconds)}
    strange = core_seconds(settings.cores) - everybody - (time.process_time() - ours)
    return {**rates, "others": strange / (time.perf_counter() - began) / len(settings.cores)}


def rate(step: Callable[[], None], seconds: float) -> float:
    """Return steps per second after a warm-up."""
    until = time.perf_counter() + seconds / 3
    while time.perf_counter() < until:
        step()
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        step()
        steps += 1
    return steps / (time.perf_counter() - started)


def training_step() -> Callable[[], None]:
    """Build forward, backward and update of 4 layers, 256 wide, 4 rows of 256 tokens, bfloat16 products."""
    import torch
    from torch import nn

    layers = [
        nn.TransformerEncoderLayer(256, 4, 1024, 0.0, batch_first=True, norm_first=True, activation="gelu")
        for _ in range(4)
    ]
    model = nn.Sequential(*layers, nn.Linear(256, 4096))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    x, targets = torch.randn(4, 256, 256), torch.randint(4096, (4 * 256,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(x)
        nn.functional.cross_entropy(logits.float().flatten(0, 1), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def decoding_step() -> Callable[[], None]:
    """Build one token's way through 6 layers, 256 wide, and a head of 4,096, all bfloat16, one row."""
    import torch
    from torch import Tensor, nn

    shapes = [(256, 768), (256, 256), (256, 1024), (1024, 256)] * 6
    linears = [nn.Linear(*shape, bias=False, dtype=torch.bfloat16) for shape in shapes]
    head = nn.Linear(256, 4096, bias=False, dtype=torch.bfloat16)
    past = torch.randn(1, 4, 128, 64, dtype=torch.bfloat16)

    def layer(x: Tensor, qkv: nn.Module, out: nn.Module, up: nn.Module, down: nn.Module) -> Tensor:
        q, _, _ = qkv(nn.functional.rms_norm(x, (256,))).chunk(3, -1)
        read = nn.functional.scaled_dot_product_attention(q.view(1, 4, 1, 64), past, past)
        x = x + out(read.view(1, 1, 256))
        return x + down(nn.functional.gelu(up(nn.functional.rms_norm(x, (256,)))))

    @torch.inference_mode()
    def step() -> None:
        x = torch.ones(1, 1, 256, dtype=torch.bfloat16)
        for index in range(0, len(linears), 4):
            x = layer(x, *linears[index : index + 4])
        head(x).argmax()

    return step


def print_table(kind: str, runs: list[dict[str, object]], settings: Settings) -> None:
    """Print one kind of work: policies down, busy processes across, shares of the default's idle rate."""

    def median(name: str, busy: int) -> float:
        return statistics.median(
            float(str(run[kind])) for run in runs if run["policy"] == name and run["busy"] == busy
        )

    base = median(next(iter(settings.policies)), settings.busy[0])
    print(f"\n{kind}: {base:.1f} steps per second = 100 %, {len(settings.cores)} cores")
    print("| policy | " + " | ".join(f"{busy} busy" for busy in settings.busy) + " |")
    print("| --- |" + " --- |" * len(settings.busy))
    for name in settings.policies:
        print(
            f"| {name} | " + " | ".join(f"{median(name, busy) / base:.0%}" for busy in settings.busy) + " |"
        )


if __name__ == "__main__":
    main()
