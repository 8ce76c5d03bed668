"""Corpus preparation beside datatrove: python -m benchmarks.corpus [megabytes=50] [cores=0,1] [rounds=3] [texts=FILE…]

Both apply Gopher's limits and drop near-duplicates with as many bands and hashes, on as many processes as cores.
The text is English, for datatrove's limits drop Chinese. It is made from the documents of `texts` (.txt or .jsonl;
the text that ships with rootlm without any): real documents first, then documents of sentences drawn from them,
one in ten a copy of an earlier one with 1 % of its characters changed. Recall and false drops are counted in a run
of their own without the limits. datatrove 0.10 needs an older xxhash: pip install "xxhash<4".
"""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import psutil
import zstandard
from pydantic import Field

from benchmarks import contest
from benchmarks.contest import Figure, compared
from rootlm import shipped
from rootlm.cli.arguments import help_text, parse
from rootlm.core.config import Config
from rootlm.text.corpus import Corpus
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.read import read

OURS, PEER = "rootlm", "datatrove"
_FILES = 16
_NOISE, _COPIES = 0.01, 0.1
_LOOK_SECONDS = 0.05


class Settings(Config):
    megabytes: int = Field(50, gt=0)
    """How much text."""
    cores: str = "0,1"
    """The cores that everybody is pinned to."""
    rounds: int = Field(3, gt=0)
    """How often everybody runs, in turns."""
    texts: list[str] = Field(default_factory=list)
    """Files to make the text from; none takes what ships with rootlm."""
    quality_megabytes: int = Field(20, gt=0)
    """How much text recall and false drops are counted on."""
    out: str = ""
    """The file of JSON lines; empty writes benchmarks/results/DATE.jsonl."""


def documents(texts: Sequence[str]) -> list[str]:
    """Return the real documents in English, long enough to be prose."""
    files = [Path(name) for name in texts] or [text.path for text in shipped.paths()]
    reading = Reading(max_document_characters=4000)
    found = [document.text for file in files for document in read(file, reading, Faults("skip"))]
    return [text for text in found if len(text) > 400 and sum(map(str.isascii, text)) > 0.95 * len(text)]


def write(folder: Path, megabytes: int, texts: Sequence[str]) -> None:
    """Write files of JSON lines with `id`s: o… are originals, c… copies that name theirs."""
    real, generator = documents(texts), random.Random(0)
    sentences = [s for text in real for s in re.split(r"(?<=[.!?])\s+", text) if 20 < len(s) < 300]
    folder.mkdir(parents=True)
    streams = [(folder / f"{number:02}.jsonl").open("wb") for number in range(_FILES)]
    made: list[str] = []
    written = number = 0
    while written < megabytes * 1_000_000:
        name = f"o{len(made)}"
        if made and generator.random() < _COPIES:
            original = generator.randrange(len(made))
            letters = list(made[original])
            for place in generator.sample(range(len(letters)), max(1, int(len(letters) * _NOISE))):
                letters[place] = generator.choice("etaoinshrdlu")
            text, name = "".join(letters), f"c{number}-{original}"
        else:
            text = real[len(made)] if len(made) < len(real) else " ".join(generator.choices(sentences, k=24))
            made.append(text)
        line = orjson.dumps({"text": text, "id": name}, option=orjson.OPT_APPEND_NEWLINE)
        streams[number % _FILES].write(line)
        written += len(line)
        number += 1
    for stream in streams:
        stream.close()


def run(command: Sequence[str], cores: str) -> dict[str, float]:
    """Run a command; returns seconds and the peak of what its processes hold for themselves, in megabytes."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [*contest.pinned(cores), sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=contest.environment({}),
        cwd=contest.ROOT,
    )
    peaks = [0.0]
    watcher = threading.Thread(target=_watch, args=(psutil.Process(process.pid), peaks), daemon=True)
    watcher.start()
    said, _ = process.communicate()
    if process.returncode:
        raise ValueError(f"{' '.join(command)} failed: {said.strip().splitlines()[-1:]}")
    return {"seconds": time.perf_counter() - started, "megabytes": peaks[0]}


def _watch(process: psutil.Process, peaks: list[float]) -> None:
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        held = 0
        for one in _family(process):
            try:
                memory = one.memory_info()
                held += memory.rss - memory.shared
            except psutil.Error:
                continue
        peaks[0] = max(peaks[0], held / 1e6)
        time.sleep(_LOOK_SECONDS)


def _family(process: psutil.Process) -> Iterator[psutil.Process]:
    try:
        yield process
        yield from process.children(recursive=True)
    except psutil.Error:
        return


def commands(raw: Path, out: Path, workers: int, *, filters: bool) -> dict[str, list[str]]:
    """Return what each side is started with."""
    steps = [f"{name}=null" for name in ("repair", "normalise", "language", "quality")]
    limits = ["gopher={}", "repetition={}"] if filters else []
    ours = ["rootlm", "data", "prepare", str(raw), f"out={out / OURS}", f"workers={workers}", *steps, *limits]
    peer = [f"raw={raw}", f"out={out / PEER}", f"workers={workers}", f"filters={str(filters).lower()}"]
    return {OURS: ours, PEER: ["benchmarks.datatrove_side", *peer]}


def kept(folder: Path, who: str) -> set[str]:
    """Return the ids that a side has kept."""
    if who == OURS:
        corpus = Corpus.open(folder / OURS)
        return {str(document.meta["id"]) for split in corpus.splits for document in corpus.documents(split)}
    found = set()
    for file in (folder / PEER / "kept").glob("*.jsonl.zst"):
        with file.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            found |= {str(json.loads(line)["id"]) for line in stream.read().splitlines()}
    return found


def judged(raw: Path, remaining: set[str]) -> dict[str, float]:
    """Return the share of planted copies that no longer stand beside what they are like, and how many others went."""
    names = {str(orjson.loads(line)["id"]) for file in raw.glob("*.jsonl") for line in file.open("rb")}
    groups: dict[str, set[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition("-")[2] if name[0] == "c" else name[1:], set()).add(name)
    planted = sum(len(group) - 1 for group in groups.values())
    left = sum(max(0, len(group & remaining) - 1) for group in groups.values())
    lost = sum(not group & remaining for group in groups.values())
    return {"planted": planted, "recall": 1 - left / max(planted, 1), "groups_lost": lost}


def main(settings: Settings) -> list[Figure]:
    workers = len(settings.cores.split(",")) if settings.cores else 2
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        quality: dict[str, Any] = {}
        write(folder / "small", settings.quality_megabytes, settings.texts)
        for who, command in commands(folder / "small", folder / "judged", workers, filters=False).items():
            run(command, settings.cores)
            quality[who] = judged(folder / "small", kept(folder / "judged", who))
            print(f"  {who}: {quality[who]}", flush=True)
        write(folder / "raw", settings.megabytes, settings.texts)
        runs: dict[str, list[dict[str, float]]] = {OURS: [], PEER: []}
        counts = {}
        for turn in range(settings.rounds):
            for who in (OURS, PEER) if turn % 2 == 0 else (PEER, OURS):
                out = folder / "out"
                runs[who].append(
                    run(commands(folder / "raw", out, workers, filters=True)[who], settings.cores)
                )
                counts[who] = len(kept(out, who))
                shutil.rmtree(out)
                print(f"  {who}: {runs[who][-1]}, {counts[who]:,} kept", flush=True)
        size = sum(file.stat().st_size for file in (folder / "raw").iterdir()) / 1e6
    rates = {who: size / median(one["seconds"] for one in several) for who, several in runs.items()}
    memory = {who: median(one["megabytes"] for one in several) for who, several in runs.items()}
    detail = {"memory_megabytes": memory, "kept": counts, "quality": quality, "megabytes": size}
    name = f"corpus preparation, {settings.megabytes} MB"
    return [compared(name, "MB/s", rates[OURS], PEER, rates[PEER], ">= 1.5", **detail)]


if __name__ == "__main__":
    if "--help" in sys.argv or "-h" in sys.argv:
        print(help_text("python -m benchmarks.corpus", "corpora beside datatrove", Settings, __doc__ or ""))
        sys.exit()
    chosen, _ = parse(sys.argv[1:], Settings)
    figures = main(chosen)
    contest.write(
        figures, Path(chosen.out) if chosen.out else contest.RESULTS / time.strftime("%Y-%m-%d.jsonl")
    )
    print(contest.table(figures))
