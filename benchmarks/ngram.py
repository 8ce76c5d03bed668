"""N-grams beside KenLM: python -m benchmarks.ngram texts=FILE,… lmplz=BIN/lmplz [order=5] [cores=0,1] [rounds=3]

A text has a sentence on each line and spaces between its words. Estimation is from the text file to the finished ARPA
file, scoring from the text file to the total of its log-probabilities, a loaded model given. Each side is a process
of its own, in turns, on the same cores. Compilation is left out: our side counts a small text first. KenLM's side is
the whole process of `lmplz`, and for scoring that of `query` with a binary model, less the same with an empty text.

`lmplz`, `query` and `build_binary` come from KenLM's source package, with cmake, g++ and Debian's libboost-all-dev:
pip download --no-binary :all: --no-deps kenlm==0.3.0, unpack, cmake -DCMAKE_BUILD_TYPE=Release, make.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from pydantic import Field

from benchmarks import contest
from benchmarks.contest import Contestant, Figure, compared
from rootlm.cli.arguments import help_text, parse
from rootlm.core.config import Config

OURS, PEER = "rootlm", "KenLM"


class Settings(Config):
    texts: list[str] = Field(default_factory=list)
    """The texts to count."""
    lmplz: str = ""
    """KenLM's lmplz, with query and build_binary beside it."""
    order: int = Field(5, ge=1)
    """The most words of an n-gram."""
    kenlm_memory: str = "1G"
    """What lmplz is given as -S; it takes what it is given."""
    cores: str = "0,1"
    """The cores that everybody is pinned to."""
    rounds: int = Field(3, gt=0)
    """How often everybody runs, in turns."""
    out: str = ""
    """The file of JSON lines; empty writes benchmarks/results/DATE.jsonl."""
    side: str = ""
    """For the process of our own side: estimate or score."""
    arpa: str = ""
    """For our own side: the file to write, or to read."""


def ours(settings: Settings) -> dict[str, float]:
    """Do our side's work once, warm, and return what it took."""
    from rootlm.runs.ngram_arpa import arpa_of_text, score_spaced

    from rootlm.models.arpa import read_arpa
    from rootlm.models.ngram import NgramConfig

    text, arpa, config = Path(settings.texts[0]), Path(settings.arpa), NgramConfig(order=settings.order)
    with tempfile.TemporaryDirectory() as place:
        small, made = Path(place) / "small.txt", Path(place) / "small.arpa"
        small.write_bytes(b"".join(text.open("rb").readlines()[:200]))
        arpa_of_text(small, made, config, str)
        score_spaced(*read_arpa(made), small.read_bytes())
    if settings.side == "score":
        model, words = read_arpa(arpa)
        started = time.perf_counter()
        total = float(score_spaced(model, words, text.read_bytes()).sum())
        return {"seconds": time.perf_counter() - started, "log10": total}
    started = time.perf_counter()
    arpa_of_text(text, arpa, config)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}


def peer(command: list[str], cores: str, text: Path | None) -> tuple[dict[str, float], str]:
    """Run one of KenLM's programs; returns seconds, the peak of its memory, and what it said."""
    started = time.perf_counter()
    with Path("/dev/null" if text is None else text).open("rb") as stream:
        done = subprocess.run(
            [*contest.pinned(cores), *command], stdin=stream, capture_output=True, text=True, check=False
        )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise ValueError(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")
    said = done.stdout + done.stderr
    peak = re.search(r"RSSMax:(\d+)", said)
    return {"seconds": seconds, "megabytes": int(peak[1]) / 1e3 if peak else 0.0}, said


def figures(settings: Settings, text: Path, folder: Path) -> list[Figure]:
    """Measure estimation and scoring on one text."""
    lmplz, arpa, theirs = Path(settings.lmplz), folder / "ours.arpa", folder / "theirs.arpa"
    plain = folder / "plain.txt"
    # lmplz keeps <unk> for itself.
    plain.write_bytes(text.read_bytes().replace(b"<unk>", b"<unknown>"))
    estimate = [str(lmplz), "-o", str(settings.order), "-S", settings.kenlm_memory, "-T", str(folder)]
    estimate += ["--discount_fallback", "--text", str(plain), "--arpa", str(theirs)]
    mine = Contestant(OURS, ("benchmarks.ngram",))
    extra = {"texts": f"[{text}]", "order": settings.order, "arpa": arpa}
    rounds: dict[str, list[dict[str, float]]] = {OURS: [], PEER: []}
    for turn in range(settings.rounds):
        for who in (OURS, PEER) if turn % 2 == 0 else (PEER, OURS):
            if who == OURS:
                rounds[who].append(mine.run(settings.cores, side="estimate", **extra))
            else:
                rounds[who].append(peer(estimate, settings.cores, None)[0])
            print(f"  {text.name}, estimation, {who}: {rounds[who][-1]}", flush=True)
    binary = str(folder / "theirs.binary")
    peer([str(lmplz.with_name("build_binary")), str(theirs), binary], settings.cores, None)
    query = [str(lmplz.with_name("query")), "-v", "summary", binary]
    scores: dict[str, list[float]] = {OURS: [], PEER: []}
    for _ in range(settings.rounds):
        scores[OURS].append(mine.run(settings.cores, side="score", **extra)["seconds"])
        whole = peer(query, settings.cores, plain)[0]["seconds"]
        scores[PEER].append(whole - peer(query, settings.cores, None)[0]["seconds"])
        print(f"  {text.name}, scoring: {scores[OURS][-1]:.3f} s, {scores[PEER][-1]:.3f} s", flush=True)
    tokens = len(plain.read_bytes().split()) + plain.read_bytes().count(b"\n")
    rates = {who: tokens / median(one["seconds"] for one in several) for who, several in rounds.items()}
    memory = {who: median(one["megabytes"] for one in several) for who, several in rounds.items()}
    speeds = {who: tokens / median(several) for who, several in scores.items()}
    name = f"{text.name}, order {settings.order}, {tokens:,} tokens"
    return [
        compared(
            f"n-gram estimation, {name}",
            "tokens/s",
            rates[OURS],
            PEER,
            rates[PEER],
            ">= 0.5",
            memory_megabytes=memory,
        ),
        compared(f"n-gram scoring, {name}", "tokens/s", speeds[OURS], PEER, speeds[PEER], ">= 0.5"),
    ]


def main(settings: Settings) -> list[Figure]:
    found: list[Figure] = []
    for text in settings.texts:
        with tempfile.TemporaryDirectory() as place:
            found += figures(settings, Path(text).resolve(), Path(place))
    return found


if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        print(help_text("python -m benchmarks.ngram", "n-grams beside KenLM", Settings, __doc__ or ""))
        sys.exit()
    chosen, _ = parse(sys.argv[1:], Settings)
    if chosen.side:
        print(json.dumps(ours(chosen)))
        sys.exit()
    measured = main(chosen)
    contest.write(
        measured, Path(chosen.out) if chosen.out else contest.RESULTS / time.strftime("%Y-%m-%d.jsonl")
    )
    print(contest.table(measured))
