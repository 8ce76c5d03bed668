"""The figures: for each, who plays, what is compared, and the goal it is held to."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks import contest, ngram, recurrent, tokens
from benchmarks.contest import Contest, Contestant, Figure, compared, median, spread
from benchmarks.shapes import SHAPES

OURS, PEER, PLAIN = "rootlm", "transformers", "plain loop"
RATE = "tokens_per_second"
_MODULES = {OURS: "benchmarks.ours", PEER: "benchmarks.hugging_face", PLAIN: "benchmarks.plain_loop"}
# rootlm settles how its threads wait; the peers are given the better of the two policies.
_WAITING: Mapping[str, tuple[dict[str, str], ...]] = {
    OURS: ({},),
    PEER: ({}, {"OMP_WAIT_POLICY": "PASSIVE"}),
    PLAIN: ({}, {"OMP_WAIT_POLICY": "PASSIVE"}),
}
_TRAINING: Mapping[str, tuple[str, ...]] = {
    OURS: ("more=[training.compile=false]", "more=[training.compile=true]"),
    PEER: ("compile=none", "compile=default"),
    PLAIN: ("compile=none", "compile=default"),
}
_DECODING = (
    "cache=dynamic attention=sdpa",
    "cache=dynamic attention=eager",
    "cache=static attention=sdpa",
    "cache=static attention=sdpa compile=default",
)
_LEARNING_RATES = (5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
_SHARES = (0.35, 0.5, 0.7, 1.0)
_SEEDS = (0, 1, 2)


def variants(
    who: str, what: str, choices: Sequence[str], *words: str, waiting: Sequence[dict[str, str]] = ()
) -> list[Contestant]:
    """Return a contestant for every choice of settings and every way in which its threads may wait."""
    found = []
    for choice in choices:
        for environment in waiting or _WAITING[who]:
            name = " ".join([who, choice, *environment.values()]).strip()
            found.append(Contestant(name, (_MODULES[who], what, *words, *choice.split()), environment))
    return found


def best_trainers(game: Contest, *words: str) -> dict[str, Contestant]:
    """Return each contestant with the settings in which it trains fastest."""
    chosen = {}
    for who, choices in _TRAINING.items():
        players = variants(who, "train", choices, *words)
        quick = {"steps": 50, "skip": 20} if who == OURS else {"seconds": 6}
        chosen[who] = game.best_of(players, RATE, peak=False, **quick)
    return chosen


def training_speed(game: Contest, shape: str, aim: float) -> list[Figure]:
    """Training tokens per second after warm-up, and the share of the machine's peak."""
    tokens.prepare(SHAPES[shape].vocabulary)
    chosen = best_trainers(game, f"shape={shape}")
    found = game.play(list(chosen.values()))
    runs = {who: found[one.name] for who, one in chosen.items()}
    own = median(runs[OURS], RATE)
    detail = {
        "spread": {who: spread(one, RATE) for who, one in runs.items()},
        "settings": {who: one.name for who, one in chosen.items()},
        "others_busy": max(run["others_busy"] for one in runs.values() for run in one),
    }
    figures = [
        compared(f"training {shape}", "tokens/s", own, who, median(runs[who], RATE), ">= 1.15", **detail)
        for who in (PEER, PLAIN)
    ]
    shares = {who: median(one, "share_of_peak") for who, one in runs.items()}
    peaks = {who: median(one, "peak_flops") for who, one in runs.items()}
    detail = {"shares": shares, "peak_flops": peaks, "aim": aim}
    figures.append(
        compared(f"share of peak {shape}", "of peak", shares[OURS], PEER, shares[PEER], None, **detail)
    )
    return figures


def memory(game: Contest) -> list[Figure]:
    """Peak memory of training with a vocabulary of 32,768, above what importing takes."""
    # Made here, so that no contestant's memory holds the making of its text.
    tokens.prepare(SHAPES["A32k"].vocabulary)
    key, words = "megabytes_above_import", ("shape=A32k", "peak=false")
    players = {
        OURS: variants(OURS, "train", ("",), *words, "steps=12", "skip=4", "more=[training.logging_steps=1]"),
        PEER: variants(
            PEER, "train", _TRAINING[PEER], *words, "seconds=3", waiting=({"OMP_WAIT_POLICY": "PASSIVE"},)
        ),
    }
    found = game.play([one for several in players.values() for one in several])
    least = {
        who: min(several, key=lambda one: median(found[one.name], key)).name
        for who, several in players.items()
    }
    whole = {name: median(runs, "peak_megabytes") for name, runs in found.items()}
    own, peer = (median(found[least[who]], key) for who in (OURS, PEER))
    detail = {"settings": least[PEER], "whole_process_megabytes": whole}
    return [compared("memory, 32k vocabulary", "MB above import", own, PEER, peer, "<= 0.6", **detail)]


def contention(game: Contest) -> list[Figure]:
    """Training A beside one busy process per core, as a share of the own idle speed."""
    words = ("shape=A", "peak=false")
    players = [*variants(OURS, "train", ("",), *words), *variants(PEER, "train", ("",), *words)]
    idle = game.play(players)
    with contest.busy_neighbours(game.cores):
        busy = game.play(players)
    rates = {name: median(runs, RATE) for name, runs in busy.items()}
    shares = {name: rate / median(idle[name], RATE) for name, rate in rates.items()}
    own, *peers = (one.name for one in players)
    best = max(peers, key=rates.__getitem__)
    detail = {"shares": shares, "tokens_per_second": rates}
    name, goal = "busy neighbours", 0.45
    ratio = shares[own] / shares[best]
    value = shares[own]
    return [
        Figure(name, value, "of own idle", best, shares[best], ratio, "value >= 0.45", value >= goal, detail)
    ]


def time_to_loss(game: Contest, steps: int, seeds: Sequence[int]) -> list[Figure]:
    """Seconds of training until the plain loop's final score.

    The plain loop has the best of five learning rates. rootlm takes as many tokens in a step and may plan for
    fewer steps; its plan is chosen on the first seed.
    """
    plain = _learner(
        game.best_of(variants(PLAIN, "train", _TRAINING[PLAIN], "shape=A"), RATE, seconds=6, peak=False)
    )
    scores = {}
    for rate in _LEARNING_RATES:
        scores[rate] = plain.run(game.cores, steps=steps, learning_rate=rate)["bits_per_byte"]
        print(f"  {PLAIN}: learning rate {rate} ends at {scores[rate]:.4f} bits per byte", flush=True)
    best = min(scores, key=scores.__getitem__)
    own = variants(OURS, "learn", ("",), "shape=A")[0]
    peers = {seed: plain.run(game.cores, steps=steps, learning_rate=best, seed=seed) for seed in seeds}
    first = {share: _race(game, own, round(steps * share), seeds[0], peers[seeds[0]]) for share in _SHARES}
    share = min(first, key=first.__getitem__)
    mine = [_race(game, own, round(steps * share), seed, peers[seed]) for seed in seeds[1:]]
    seconds = [first[share], *mine]
    theirs = [peers[seed]["seconds"] for seed in seeds]
    ratio = statistics.median(ours / peer for ours, peer in zip(seconds, theirs, strict=True))
    detail = {"seconds": seconds, "plan": share, "steps": steps, "learning_rates": scores, "plain": peers}
    goal = "<= 0.6"
    name, value, peer_value = (
        "seconds to the plain loop's score",
        statistics.median(seconds),
        statistics.median(theirs),
    )
    return [Figure(name, value, "s", PLAIN, peer_value, ratio, goal, contest.reaches(ratio, goal), detail)]


def _learner(trainer: Contestant) -> Contestant:
    module, _, *words = trainer.command
    return Contestant(trainer.name, (module, "learn", *words), trainer.environment)


def _race(game: Contest, own: Contestant, steps: int, seed: int, peer: Mapping[str, float]) -> float:
    run = own.run(game.cores, steps=steps, seed=seed)
    seconds = reached(run["seconds_at"], run["bits_per_byte_at"], peer["bits_per_byte"])
    last = run["bits_per_byte_at"][-1]
    print(
        f"  seed {seed}: {PLAIN} {peer['bits_per_byte']:.4f} after {peer['seconds']:.1f} s; "
        f"{OURS} planned for {steps} steps is there after {seconds:.1f} s and ends at {last:.4f}",
        flush=True,
    )
    return seconds


def reached(seconds: Sequence[float], scores: Sequence[float], target: float) -> float:
    """Return when a falling curve first is at the target, between its points; infinity when it never is.

    >>> reached([10, 20], [3.0, 2.0], 2.5)
    15.0
    """
    for at, score in enumerate(scores):
        if score <= target:
            if at == 0:
                return seconds[0]
            share = (scores[at - 1] - target) / (scores[at - 1] - score)
            return seconds[at - 1] + share * (seconds[at] - seconds[at - 1])
    return float("inf")


def decoding(game: Contest, streams: int, beams: int = 1) -> list[Figure]:
    """Decoding of shape A in bfloat16, greedy or with beams, against the best of `generate`'s settings."""
    words = (f"streams={streams}", f"beams={beams}")
    peer = game.best_of(variants(PEER, "decode", _DECODING, *words), RATE, seconds=4)
    own = variants(OURS, "decode", ("",), *words)[0]
    found = game.play([own, peer])
    rates = {name: median(runs, RATE) for name, runs in found.items()}
    detail = {
        "spread": {name: spread(runs, RATE) for name, runs in found.items()},
        "settings": peer.name,
        "others_busy": max(run["others_busy"] for runs in found.values() for run in runs),
    }
    what = "decoding" if beams == 1 else f"{beams} beams"
    rows = "stream" if beams == 1 else "prompt"
    name = f"{what}, one {rows}" if streams == 1 else f"{what}, {streams} {rows}s"
    return [compared(name, "tokens/s", rates[own.name], PEER, rates[peer.name], ">= 2", **detail)]


def beam_search(game: Contest) -> list[Figure]:
    """Beam search with four beams on the same weights, for one prompt and for eight."""
    return [one for streams in (1, 8) for one in decoding(game, streams, beams=4)]


def start_up(game: Contest) -> list[Figure]:
    """Wall time of `rootlm --help` and of `import rootlm`, a fresh process each."""
    figures = []
    for name, words in (
        ("rootlm --help", ["-m", "rootlm", "--help"]),
        ("import rootlm", ["-c", "import rootlm"]),
    ):
        seconds = []
        for _ in range(game.rounds + 2):
            started = time.perf_counter()
            command = [*contest.pinned(game.cores), sys.executable, *words]
            subprocess.run(command, check=True, capture_output=True, env=contest.environment({}))
            seconds.append(time.perf_counter() - started)
        value = statistics.median(seconds)
        figures.append(Figure(name, value, "s", goal="value <= 0.25", met=value <= 0.25))
    return figures


def quickstart(game: Contest) -> list[Figure]:
    """The whole of `rootlm quickstart` in a fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        command = [
            *contest.pinned(game.cores),
            sys.executable,
            "-m",
            "rootlm",
            "quickstart",
            f"out={folder}/run",
        ]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, env=contest.environment({})
        )
        seconds = time.perf_counter() - started
    if done.returncode:
        raise ValueError(f"rootlm quickstart failed: {done.stderr.strip()[-500:]}")
    return [
        Figure(
            "quickstart", seconds, "s", goal="value <= 300", met=seconds <= 300, detail={"said": done.stdout}
        )
    ]


def two_workers(game: Contest) -> list[Figure]:
    """Two torchrun workers on the same cores against one, the same tokens: what sharing the work costs."""
    words = ("shape=A", "peak=false")
    one = Contestant("one worker", (_MODULES[OURS], "train", *words))
    two = Contestant("two workers", (_MODULES[OURS], "train", *words, "workers=2"))
    found = game.play([one, two])
    rates = {name: median(runs, RATE) for name, runs in found.items()}
    return [compared("two workers", "tokens/s", rates[two.name], one.name, rates[one.name], None)]


def catalogue(quick: bool, counted: ngram.Counted) -> dict[str, Callable[[Contest], list[Figure]]]:
    """Return every figure by name, in the order in which they run; a quick race is shorter."""
    steps, seeds = (200, _SEEDS[:1]) if quick else (600, _SEEDS)
    return {
        "start": start_up,
        "training-A": lambda game: training_speed(game, "A", 0.55),
        "training-B": lambda game: training_speed(game, "B", 0.65),
        "recurrent": recurrent.figure,
        "ngram": lambda game: ngram.figures(game, counted),
        "decoding-1": lambda game: decoding(game, 1),
        "decoding-16": lambda game: decoding(game, 16),
        "beam": beam_search,
        "memory": memory,
        "contention": contention,
        "workers": two_workers,
        "time-to-loss": lambda game: time_to_loss(game, steps, seeds),
        "quickstart": quickstart,
    }
