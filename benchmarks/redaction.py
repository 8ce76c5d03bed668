"""Redaction: python -m benchmarks.redaction [presidio=PYTHON] [core=0] [rounds=3] [out=FILE]

Prints precision and recall of every kind on the labelled tables of the tests, Chinese and English, then the speed
in MB/s. `presidio` is the python of an environment where presidio-analyzer is installed (it brings spaCy, so it
has one of its own); without it only rootlm is measured.

    python -m venv presidio && presidio/bin/pip install presidio-analyzer
    python -m benchmarks.redaction presidio=presidio/bin/python
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import contest
from benchmarks.contest import Contest, Figure, compared, median, spread
from rootlm import shipped
from rootlm.cli.arguments import help_text, parse
from rootlm.core.config import Config
from rootlm.text.personal.personal_data import Finder
from rootlm.text.personal.redact import Redact

sys.path.insert(0, str(contest.ROOT / "tests"))
from redaction_cases import Case, Score, cases, scores

OURS, PEER = "rootlm", "presidio"
RATE = "megabytes_per_second"
_SECONDS = 2.0
_DOCUMENT_CHARACTERS = 2_000
_PROSE_BYTES = 600_000


class Settings(Config):
    presidio: str = ""
    """The python of the environment that has presidio-analyzer; empty measures rootlm alone."""
    core: int = 0
    """The core that everybody is pinned to."""
    rounds: int = 3
    """How often everybody runs, in turns."""
    out: str = ""
    """The file of JSON lines; empty writes benchmarks/results/DATE.jsonl."""
    texts: str = ""
    """For the contestant's own process: the file of texts that it is to redact."""


@dataclass(frozen=True)
class Side:
    """A contestant with a python of its own; it prints its numbers as the last line."""

    name: str
    command: tuple[str, ...]

    def run(self, cores: str) -> dict[str, Any]:
        """Run once on the given cores; returns the numbers of the last line."""
        words = [*contest.pinned(cores), *self.command]
        done = subprocess.run(
            words, cwd=contest.ROOT, env=contest.environment({}), capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise ValueError(f"{self.name}: {' '.join(self.command)} gave no numbers: {last}")
        numbers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return numbers


def redact_all(texts: Sequence[str]) -> dict[str, float]:
    """Redact the texts again and again for a while; returns the speed."""
    redaction = Redact().build()
    for text in texts[:20]:
        redaction(text)
    rounds, started = 0, time.perf_counter()
    while rounds == 0 or time.perf_counter() - started < _SECONDS:
        for text in texts:
            redaction(text)
        rounds += 1
    seconds = time.perf_counter() - started
    return {RATE: rounds * sum(len(text.encode()) for text in texts) / 1e6 / seconds}


def prose(language: str, table: Sequence[Case]) -> list[str]:
    """Return documents of shipped prose, each with one sentence of the tables: a value or a look-alike."""
    import orjson
    import zstandard

    names = {"zh": ("classics", "poems"), "en": ("shakespeare",)}[language]
    sentences = [case.text for case in table if case.language == language]
    documents: list[str] = []
    size = 0
    for one in (one for name in names for one in shipped.paths() if one.name == name):
        raw = zstandard.ZstdDecompressor().stream_reader(Path(one.path).read_bytes()).read()
        whole = "\n".join(orjson.loads(line)["text"] for line in raw.splitlines())
        for start in range(0, len(whole), _DOCUMENT_CHARACTERS):
            if size >= _PROSE_BYTES:
                return documents
            sentence = sentences[len(documents) * 7 % len(sentences)]
            documents.append(whole[start : start + _DOCUMENT_CHARACTERS] + "\n" + sentence)
            size += len(documents[-1].encode())
    return documents


def score_rows(found: dict[tuple[str, str], Score]) -> Iterator[str]:
    """Yield the lines of the table of precision and recall."""
    yield f"{'kind':<12} {'lang':<5} {'values':>6} {'precision':>9} {'recall':>7}"
    for (kind, language), one in found.items():
        values = one.hits + one.missed
        yield f"{kind:<12} {language:<5} {values:>6} {one.precision:>9.3f} {one.recall:>7.3f}"


def total(found: dict[tuple[str, str], Score], kinds: Sequence[str]) -> Score:
    """Add up the scores of some kinds."""
    chosen = [one for (kind, _), one in found.items() if kind in kinds]
    return Score(*(sum(column) for column in zip(*chosen, strict=True)))


def speeds(settings: Settings, table: Sequence[Case]) -> Iterator[Figure]:
    """Yield the speed on prose and on bare table sentences, and on the English tables who finds what."""
    game = Contest(str(settings.core), settings.rounds, say=False)
    english = [case for case in table if case.language == "en"]
    materials = {
        "redaction, zh prose": prose("zh", table),
        "redaction, en prose": prose("en", table),
        "redaction, zh sentences": [case.text for case in table if case.language == "zh"],
        "redaction, en sentences": [case.text for case in english],
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, texts in materials.items():
            file = Path(folder) / "texts.json"
            file.write_text(json.dumps(texts), encoding="utf-8")
            sides = [Side(OURS, (sys.executable, "-m", "benchmarks.redaction", f"texts={file}"))]
            if settings.presidio:
                sides.append(Side(PEER, (settings.presidio, "benchmarks/presidio_side.py", str(file))))
            runs = game.play(sides)
            own = median(runs[OURS], RATE)
            detail: dict[str, Any] = {"spread": {who: spread(one, RATE) for who, one in runs.items()}}
            detail["others_busy"] = max(run["others_busy"] for one in runs.values() for run in one)
            if not settings.presidio:
                yield Figure(name, own, "MB/s", detail=detail)
                continue
            yield compared(name, "MB/s", own, PEER, median(runs[PEER], RATE), None, **detail)
            if name.endswith("en sentences"):
                yield recall(english, runs[PEER][0])


def recall(english: Sequence[Case], run: dict[str, Any]) -> Figure:
    """Return both sides' recall on the English tables, over the kinds that both look for.

    A value counts when four fifths of it are found: where a telephone number ends is a matter of taste. URLs
    are left out: presidio looks for all of them, rootlm for those with a password.
    """
    kinds = ("bank_card", "email", "iban", "ip", "mac", "phone", "passport", "ssn")
    finder = Finder()
    own, _ = scores(
        list(english),
        lambda text: [(one.kind, one.start, one.end) for one in finder.find(text)],
        strict=False,
    )
    peers = iter(run["found"])
    peer, _ = scores(
        list(english), lambda _: [(kind, start, end) for kind, start, end in next(peers)], strict=False
    )
    print(f"\n{PEER} on the English tables\n" + "\n".join(score_rows(peer)))
    ours, theirs = total(own, kinds), total(peer, kinds)
    detail = {"precision": {OURS: ours.precision, PEER: theirs.precision}, "kinds": kinds}
    return compared("redaction, recall en", "of values", ours.recall, PEER, theirs.recall, None, **detail)


def main(tokens: list[str]) -> int:
    if "--help" in tokens or "-h" in tokens:
        print(
            help_text("python -m benchmarks.redaction", "redaction beside presidio", Settings, __doc__ or "")
        )
        return 0
    settings, _ = parse(tokens, Settings, positional=[])
    if settings.texts:
        print(json.dumps(redact_all(json.loads(Path(settings.texts).read_text(encoding="utf-8")))))
        return 0
    table = cases()
    finder = Finder()
    found, _ = scores(table, lambda text: [(one.kind, one.start, one.end) for one in finder.find(text)])
    values = sum(len(case.labels) for case in table)
    negatives = sum(not case.labels for case in table)
    print(
        f"{values:,} values in sentences, {negatives:,} sentences with none\n" + "\n".join(score_rows(found)),
        flush=True,
    )
    figures = list(speeds(settings, table))
    file = Path(settings.out) if settings.out else contest.RESULTS / time.strftime("%Y-%m-%d.jsonl")
    contest.write(figures, file)
    print("\n" + contest.table(figures) + f"\n\n{file}: {len(figures)} figures")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        print(f"benchmarks.redaction: {error}", file=sys.stderr)
        sys.exit(2)
