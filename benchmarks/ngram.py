"""N-grams beside KenLM: from a text to its ARPA file, and from a text to the total of its log-probabilities.

python -m benchmarks ngram lmplz=BIN/lmplz texts='[FILE]'
python -m benchmarks.ngram estimate text=FILE arpa=FILE        # one contestant, once

A text has a sentence on each line and spaces between its words. Compilation is left out: our side counts, or scores, a
small text first, and its memory is that of the whole process. For scoring a loaded model is given: ours is laid out by
a scorer, KenLM's by `build_binary`. KenLM's side is the whole process of `lmplz`, and for scoring that of `query`
with a binary model, less the same with an empty text.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from benchmarks import contest, kenlm_programs, material
from benchmarks.contest import Contest, Contestant, Figure, compared, median, spread
from rootlm.cli.arguments import parse
from rootlm.core import files
from rootlm.core.config import Config
from rootlm.core.machine import peak_memory

OURS, PEER = "rootlm", "KenLM"
TREEBANK = contest.ROOT / "data-cache" / "treebank" / "whole" / "train.txt"


class Settings(Config):
    what: Literal["estimate", "score", "lmplz", "query"]
    """Ours: estimate or score; KenLM's: lmplz or query."""
    text: str
    """The text to count or to score."""
    arpa: str
    """The file to write, or the model to read."""
    order: int = Field(5, ge=1)
    """The most words of an n-gram."""
    programs: str = ""
    """The folder of KenLM's programs."""
    memory: str = "1G"
    """What lmplz is given as -S; it takes what it is given."""


def estimated(settings: Settings) -> dict[str, float]:
    """Make an ARPA file of the text, warm; returns seconds, and the process's peak of memory before and in all."""
    from rootlm.models.ngram_settings import NgramConfig
    from rootlm.runs.arpa_writing import arpa_of_text

    text, config = Path(settings.text), NgramConfig(order=settings.order)
    with tempfile.TemporaryDirectory() as place:
        small = Path(place) / "small.txt"
        small.write_bytes(_beginning(text))
        arpa_of_text(small, Path(place) / "small.arpa", config, str)
    before, started = peak_memory() / 1e6, time.perf_counter()
    arpa_of_text(text, Path(settings.arpa), config, str)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "megabytes": peak_memory() / 1e6, "megabytes_before": before}


def scored(settings: Settings) -> dict[str, float]:
    """Score the text with a loaded model, warm; returns seconds, those of laying the model out, and perplexity."""
    from rootlm.models.arpa_reader import read_arpa
    from rootlm.runs.spaced_scoring import SpacedScorer

    text = Path(settings.text)
    model, words = read_arpa(Path(settings.arpa))
    loaded = time.perf_counter()
    scorer = SpacedScorer(model, words)
    laid_out = time.perf_counter() - loaded
    scorer.score(_beginning(text))
    started = time.perf_counter()
    total = float(scorer.score(text.read_bytes()).sum())
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "laid_out": laid_out, "perplexity": 10 ** (-total / predictions(text))}


def _beginning(text: Path) -> bytes:
    with text.open("rb") as lines:
        return b"".join(itertools.islice(lines, 200))


def theirs(settings: Settings) -> dict[str, float]:
    """Run one of KenLM's programs once, and return what it took."""
    folder = Path(settings.programs)
    if settings.what == "query":
        command = [str(folder / "query"), "-v", "summary", settings.arpa]
        whole, said = _timed(command, settings.text)
        total = re.search(r"Perplexity including OOVs:\s*(\S+)", said)
        return {
            "seconds": whole - _timed(command, "/dev/null")[0],
            "perplexity": float(total[1]) if total else float("nan"),
        }
    with tempfile.TemporaryDirectory() as place:
        command = [str(folder / "lmplz"), "-o", str(settings.order), "-S", settings.memory, "-T", place]
        command += ["--discount_fallback", "--text", settings.text, "--arpa", settings.arpa]
        seconds, said = _timed(command, "/dev/null")
    peak = re.search(r"RSSMax:(\d+) kB", said)
    return {"seconds": seconds, "megabytes": int(peak[1]) * 1024 / 1e6 if peak else float("nan")}


def _timed(command: Sequence[str], given: str) -> tuple[float, str]:
    """Return the seconds of a program that reads a file, and what it said."""
    started = time.perf_counter()
    with Path(given).open("rb") as stream:
        done = subprocess.run(command, stdin=stream, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise ValueError(f"{command[0]} failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return seconds, done.stdout + done.stderr


@dataclass(frozen=True)
class Counted:
    """What is counted, and with which lmplz: empty looks on the path, else builds it."""

    texts: tuple[str, ...] = ()
    """None takes the Treebank where it was fetched, else the shipped text."""
    lmplz: str = ""
    order: int = 5


def figures(game: Contest, counted: Counted) -> list[Figure]:
    """Return estimation, its memory and scoring for every text."""
    programs = kenlm_programs.lmplz(counted.lmplz).parent
    found: list[Figure] = []
    for text in [Path(name).resolve() for name in counted.texts] or [default_text()]:
        if not text.is_file():
            raise ValueError(f"{text}: is not a file; name texts with a sentence on each line")
        with tempfile.TemporaryDirectory() as place:
            found += _of_one(game, text, Path(place), programs, counted.order)
    return found


def _of_one(game: Contest, text: Path, folder: Path, programs: Path, order: int) -> list[Figure]:
    plain, binary = folder / "plain.txt", folder / "theirs.binary"
    # lmplz keeps <unk> for itself.
    plain.write_bytes(text.read_bytes().replace(b"<unk>", b"<unknown>"))
    tokens = predictions(plain)

    def play(mine: str, its: str, model: Path) -> tuple[dict[str, list[dict[str, float]]], dict[str, object]]:
        runs = game.play(
            [
                Contestant(OURS, ("benchmarks.ngram", mine, f"text={plain}", f"arpa={folder / 'ours.arpa'}")),
                Contestant(PEER, ("benchmarks.ngram", its, f"text={plain}", f"arpa={model}")),
            ],
            order=order,
            programs=programs,
        )
        detail: dict[str, object] = {
            "seconds": {who: spread(several, "seconds") for who, several in runs.items()},
            "others_busy": max(run["others_busy"] for several in runs.values() for run in several),
        }
        return runs, detail

    runs, detail = play("estimate", "lmplz", folder / "theirs.arpa")
    subprocess.run(
        [programs / "build_binary", folder / "theirs.arpa", binary], check=True, capture_output=True
    )
    scored, scored_detail = play("score", "query", binary)
    name = f"{text.name}, order {order}, {tokens:,} tokens"
    rates = {who: tokens / median(several, "seconds") for who, several in runs.items()}
    memory = {who: median(several, "megabytes") for who, several in runs.items()}
    speeds = {who: tokens / median(several, "seconds") for who, several in scored.items()}
    return [
        compared(f"n-gram, {name}", "tokens/s", rates[OURS], PEER, rates[PEER], ">= 0.5", **detail),
        compared("n-gram memory", "MB", memory[OURS], PEER, memory[PEER], "<= 2"),
        compared("n-gram scoring", "tokens/s", speeds[OURS], PEER, speeds[PEER], ">= 0.5", **scored_detail),
    ]


def predictions(text: Path) -> int:
    """Return how many words and line ends a text has."""
    content = text.read_bytes()
    return len(content.split()) + content.count(b"\n")


def default_text() -> Path:
    """Return the Treebank's training text where it was fetched, else the shipped text, its words apart."""
    if TREEBANK.exists():
        return TREEBANK
    file = material.FOLDER / "shipped.words.txt"
    if not file.exists():
        files.write_text(file, "".join(f"{line}\n" for line in _shipped_lines()))
    return file


def _shipped_lines() -> Iterator[str]:
    from rootlm.text.words.segment import Segment

    cutter = Segment().build()
    for document in material.corpus().documents("train"):
        for line in document.text.splitlines():
            words = cutter.words(line)
            if words:
                yield " ".join(words)


if __name__ == "__main__":
    sides = {"estimate": estimated, "score": scored, "lmplz": theirs, "query": theirs}
    if sys.argv[1:2] and sys.argv[1] in sides:
        chosen, _ = parse(sys.argv[1:], Settings, positional=["what"])
        print(json.dumps(sides[chosen.what](chosen)))
        sys.exit()
    from benchmarks.__main__ import start

    sys.exit(start(["ngram", *sys.argv[1:]]))
