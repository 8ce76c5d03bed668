"""How fast Chinese text is cut into words, beside jieba, and how far the cuts agree.

    python benchmarks/segmentation.py FILE… megabytes=4 rounds=3 jieba_python=PYTHON

The files are .jsonl (key text) or .txt; the first `megabytes` of their Chinese documents are cut. Every cutter
runs in its own process, one after the other in turn, on the same text; the best round counts. `jieba_python` is an
interpreter that has jieba (pip install jieba==0.42.1), by default this one. Its cuts are compared with ours on every
document: a word agrees when both put its two borders at the same places.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import NamedTuple

import orjson

from rootlm.cli.arguments import parse
from rootlm.core.config import Config

OURS, LIBRARY, JIEBA = "rootlm", "rjieba", "jieba"

# jieba's process needs nothing of ours: it reads one JSON list of texts and writes one of cuts.
_JIEBA = """
import json, logging, sys, time
import jieba
jieba.setLogLevel(logging.ERROR)
jieba.initialize()
texts = json.load(open(sys.argv[1], encoding="utf-8"))
started = time.perf_counter()
cuts = [jieba.lcut(text) for text in texts]
seconds = time.perf_counter() - started
json.dump({"seconds": seconds, "cuts": cuts}, open(sys.argv[2], "w", encoding="utf-8"))
"""


class Settings(Config):
    """What is cut."""

    files: tuple[str, ...] = ()
    """Files with Chinese text."""
    megabytes: float = 4.0
    """How much of it, in UTF-8."""
    rounds: int = 3
    """How often each cutter cuts all of it."""
    jieba_python: str = sys.executable
    """The interpreter that has jieba."""
    cutter: str | None = None
    """Cut `files[0]`, write to `files[1]`: how the script calls itself."""


class Run(NamedTuple):
    """How long one cutter took, and what it cut."""

    seconds: float
    cuts: list[list[str]]


def main() -> None:
    """Measure all cutters and print the table."""
    settings, _ = parse(sys.argv[1:], Settings, ["files*"])
    if settings.cutter:
        work(settings.cutter, Path(settings.files[0]), Path(settings.files[1]))
        return
    texts = list(read(settings.files, settings.megabytes))
    size = sum(len(text.encode()) for text in texts) / 1e6
    if size < settings.megabytes:
        raise SystemExit(
            f"the files hold {size:.2f} MB of Chinese; set megabytes={size:.2f} or name more files"
        )
    best: dict[str, Run] = {}
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder, "texts.json")
        given.write_bytes(orjson.dumps(texts))
        for _ in range(settings.rounds):
            for name in (OURS, LIBRARY, JIEBA):
                run = measure(name, given, Path(folder, "cuts.json"), settings.jieba_python)
                best[name] = min(run, best.get(name, run), key=lambda one: one.seconds)
    print_table(best, size, len(texts))


def read(files: Sequence[str], megabytes: float) -> Iterator[str]:
    """Yield the documents that are mostly Chinese, until there is enough of them."""
    from rootlm.text.raw.faults import Faults
    from rootlm.text.raw.reading import Reading
    from rootlm.text.readers.read import read as documents
    from rootlm.text.steps.word_split import is_chinese

    left = megabytes * 1e6
    for document in chain.from_iterable(documents(Path(file), Reading(), Faults("stop")) for file in files):
        if left <= 0:
            return
        if is_chinese(document.text):
            left -= len(document.text.encode())
            yield document.text


def measure(name: str, given: Path, made: Path, jieba_python: str) -> Run:
    """Have one cutter cut the texts in a process of its own."""
    if name == JIEBA:
        command = [jieba_python, "-c", _JIEBA, str(given), str(made)]
    else:
        command = [sys.executable, __file__, str(given), str(made), f"cutter={name}"]
    subprocess.run(command, check=True)
    record = orjson.loads(made.read_bytes())
    return Run(record["seconds"], record["cuts"])


def work(name: str, given: Path, made: Path) -> None:
    """Cut the texts with one cutter of this process; its dictionary is loaded before the clock starts."""
    import rjieba

    from rootlm.text.words.segment import Segment

    cutters: dict[str, Callable[[str], list[str]]] = {OURS: Segment().build().pieces, LIBRARY: rjieba.cut}
    cut, texts = cutters[name], orjson.loads(given.read_bytes())
    cut("预热")
    started = time.perf_counter()
    cuts = [cut(text) for text in texts]
    seconds = time.perf_counter() - started
    made.write_bytes(orjson.dumps({"seconds": seconds, "cuts": cuts}))


def print_table(runs: dict[str, Run], size: float, documents: int) -> None:
    """Print speed, ratio and agreement of every cutter."""
    print(f"{documents:,} documents, {size:.2f} MB of Chinese")
    print(
        "| cutter | MB/s | beside jieba | jieba's words found | its words in jieba | jieba's Chinese words found |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name, run in runs.items():
        found, kept, chinese = agreement(run.cuts, runs[JIEBA].cuts)
        speed, ratio = size / run.seconds, runs[JIEBA].seconds / run.seconds
        print(f"| {name} | {speed:.2f} | {ratio:.1f} × | {found:.3%} | {kept:.3%} | {chinese:.3%} |")


def agreement(cuts: Sequence[list[str]], others: Sequence[list[str]]) -> tuple[float, float, float]:
    """Return the share of the other's words that were found, of one's own words, and of the other's Chinese ones."""
    both = own = theirs = chinese = chinese_found = 0
    for one, other in zip(cuts, others, strict=True):
        first, second, text = spans(one), spans(other), "".join(other)
        written = {(start, end) for start, end in second if any(map(is_han, text[start:end]))}
        both += len(first & second)
        own += len(first)
        theirs += len(second)
        chinese += len(written)
        chinese_found += len(written & first)
    return both / theirs, both / own, chinese_found / chinese


def spans(words: Sequence[str]) -> set[tuple[int, int]]:
    """Return where each word begins and ends, white space left out."""
    ends = list(accumulate(map(len, words)))
    return {(end - len(word), end) for word, end in zip(words, ends, strict=True) if not word.isspace()}


def is_han(character: str) -> bool:
    """Say whether a character is Chinese."""
    return "\u3400" <= character <= "\u9fff"


if __name__ == "__main__":
    main()
