"""GloVe beside mittens: python -m benchmarks.glove text=FILE [sizes=[50,300]] [cores=0,1]

Pairs are counted on our side alone, for the peer takes finished counts. It holds them as a full matrix, each epoch is
one step on all of it, and it wants memory for some ten matrices, so the text must be small: Penn Treebank's words that
occur five times make 9,648 rows. Steps on all and steps on single pairs are not the same epoch, so beside an epoch's
seconds stands how long each side takes to the loss that the peer has at its end, each with the best of three rates.
The loss is the same sum on both sides.

The peer is none that tests need: pip install mittens.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from benchmarks import contest
from benchmarks.contest import Contest, Contestant, Figure, compared, median
from rootlm.cli.arguments import help_text, parse
from rootlm.core import machine
from rootlm.core.config import Config

OURS, PEER = "rootlm", "mittens"
_RATES = (0.05, 0.1, 0.2)
_PEER_RATES = (0.1, 0.2, 0.3)
_WINDOW = 10


class Settings(Config):
    text: str
    """The text to learn, a sentence on each line."""
    sizes: tuple[int, ...] = (50, 300)
    """Numbers of a vector."""
    epochs: int = Field(25, gt=1)
    """How often our side reads all pairs."""
    peer_epochs: int = Field(60, gt=1)
    """How many steps the peer takes."""
    min_count: int = Field(5, gt=0)
    """Words that occur less often are left out."""
    cores: str = "0,1"
    """The cores that everybody is pinned to."""
    rounds: int = Field(3, gt=0)
    """How often everybody runs, in turns."""
    out: str = ""
    """The file of JSON lines; empty writes benchmarks/results/DATE.jsonl."""
    side: str = ""
    """For a process of one side: rootlm or mittens."""
    size: int = 50
    """For a process of one side: numbers of a vector."""
    rate: float = 0.05
    """For a process of one side: AdaGrad's rate."""
    pairs: str = ""
    """For a process of one side: the file of pairs, which ours writes and the peer reads."""
    reach: float = 0.0
    """For a process of one side: the loss whose time is wanted."""


def ours(settings: Settings) -> dict[str, float]:
    """Count pairs and learn, warm."""
    from rootlm.tokenizers.counted_words import count_words, pieces_of
    from rootlm.training import glove_training
    from rootlm.training.meetings import meetings
    from rootlm.training.stretches import Standing
    from rootlm.training.word_vector_settings import GloveConfig
    from rootlm.training.word_vector_training import Text

    counted = count_words(pieces_of(Path(settings.text)), min_count=settings.min_count, threads=2)
    text = Text(counted.tokens, counted.borders, counted.counts)
    model = GloveConfig(size=settings.size, window=_WINDOW, epochs=1, threads=2, learning_rate=settings.rate)
    few = Text(text.tokens[: text.borders[500]], text.borders[:501], text.counts)
    glove_training.train(model, few, lambda _: None, lambda _: None)
    started = time.perf_counter()
    met = meetings(text[:2], len(text.counts), _WINDOW, threads=2, memory_bytes=1 << 30)
    counting = time.perf_counter() - started
    if settings.pairs:
        np.save(settings.pairs, np.asarray(met.pairs))
    seen: list[tuple[float, Standing]] = []
    train = model.model_copy(update={"epochs": settings.epochs})
    glove_training.train(train, text, lambda _: None, lambda now: seen.append((time.perf_counter(), now)))
    samples, begin = 2 * len(met.pairs), seen[0][0]
    ends = [begin, *(at for at, now in seen if now.tokens % samples == 0)]
    losses = []
    for epoch in range(settings.epochs):
        parts = [
            (now.tokens, now.loss or 0.0)
            for _, now in seen
            if epoch * samples < now.tokens <= (epoch + 1) * samples
        ]
        places = [epoch * samples, *(place for place, _ in parts)]
        losses.append(sum((b - a) * loss for (a, b), (_, loss) in zip(pairwise(places), parts, strict=True)))
    reached = next(
        (end for end, loss in zip(ends[1:], losses, strict=True) if loss <= settings.reach), float("nan")
    )
    return {
        "pairs": len(met.pairs),
        "words_per_second_counted": len(text.tokens) / counting,
        "epoch_seconds": float(np.median(np.diff(ends)[1:])),
        "seconds_to_loss": reached - begin,
        "last_loss": losses[-1],
        "peak_mb": machine.peak_memory() / 1e6,
    }


def mittens(settings: Settings) -> dict[str, float]:
    """Learn from the counts."""
    from mittens import GloVe

    pairs = np.load(settings.pairs)
    words = int(pairs["second"].max()) + 1
    counts = np.zeros((words, words))
    counts[pairs["first"], pairs["second"]] = pairs["times"]
    counts += counts.T
    np.random.seed(0)  # noqa: NPY002 - the generator it draws from
    model = GloVe(
        n=settings.size, max_iter=settings.peer_epochs, learning_rate=settings.rate, display_progress=0
    )
    started = time.perf_counter()
    model.fit(counts)
    seconds = time.perf_counter() - started
    return {
        "epoch_seconds": seconds / settings.peer_epochs,
        "seconds_to_loss": seconds,
        "last_loss": model.errors[-1],
        "peak_mb": machine.peak_memory() / 1e6,
    }


def figures(settings: Settings, size: int, folder: Path) -> list[Figure]:
    """Measure vectors of one size."""
    game = Contest(settings.cores, settings.rounds)
    given = {
        "text": settings.text, "size": size, "epochs": settings.epochs, "peer_epochs": settings.peer_epochs,
        "min_count": settings.min_count, "pairs": folder / "pairs.npy",
    }  # fmt: skip
    words = [f"{key}={value}" for key, value in given.items()]

    def one(name: str, rate: float, reach: float = 0.0) -> Contestant:
        command = ("benchmarks.glove", f"side={name}", f"rate={rate}", f"reach={reach}", *words)
        return Contestant(name, command, {"OMP_NUM_THREADS": "1" if name == OURS else "2"})

    one(OURS, _RATES[0]).run(settings.cores)
    tried = {rate: one(PEER, rate).run(settings.cores)["last_loss"] for rate in _PEER_RATES}
    rate = min(tried, key=lambda rate: tried[rate])
    print(f"  {PEER}: {', '.join(f'rate {r:g} loss {loss:,.0f}' for r, loss in tried.items())}", flush=True)
    takes = {own: one(OURS, own, tried[rate]).run(settings.cores)["seconds_to_loss"] for own in _RATES}
    own = min(takes, key=lambda own: takes[own] if takes[own] > 0 else float("inf"))
    print(f"  {OURS}: {', '.join(f'rate {r:g} {seconds:.3g} s' for r, seconds in takes.items())}", flush=True)
    found = game.play([one(OURS, own, tried[rate]), one(PEER, rate)])
    mine, theirs = found[OURS], found[PEER]
    detail: dict[str, Any] = {
        "our_loss": median(mine, "last_loss"),
        "peer_loss": median(theirs, "last_loss"),
        "our_rate": own,
        "peer_rate": rate,
        "our_mb": median(mine, "peak_mb"),
        "peer_mb": median(theirs, "peak_mb"),
    }
    name = f"GloVe, {size} numbers, {mine[0]['pairs']:,.0f} pairs"
    made = [
        compared(f"{name}: {what}", "s", median(mine, key), PEER, median(theirs, key), None, **detail)
        for what, key in (("an epoch", "epoch_seconds"), ("to the peer's last loss", "seconds_to_loss"))
    ]
    return [Figure(f"{name}: counting", median(mine, "words_per_second_counted"), "words/s"), *made]


def main(settings: Settings) -> list[Figure]:
    with tempfile.TemporaryDirectory() as place:
        return [figure for size in settings.sizes for figure in figures(settings, size, Path(place))]


if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        print(help_text("python -m benchmarks.glove", "GloVe beside mittens", Settings, __doc__ or ""))
        sys.exit()
    chosen, _ = parse(sys.argv[1:], Settings)
    if chosen.side:
        print(json.dumps(ours(chosen) if chosen.side == OURS else mittens(chosen)))
        sys.exit()
    measured = main(chosen)
    contest.write(
        measured, Path(chosen.out) if chosen.out else contest.RESULTS / time.strftime("%Y-%m-%d.jsonl")
    )
    print(contest.table(measured))
