"""The report of a corpus: one page that shows what it holds, what was dropped and why."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import yaml

from rootlm.core.charts import Chart, Series
from rootlm.core.progress import short_number
from rootlm.core.report import (
    Block,
    Curves,
    Figure,
    Figures,
    Report,
    Sample,
    Samples,
    Table,
    Verbatim,
    write_report,
)
from rootlm.text.corpus import Corpus
from rootlm.text.corpus_tables import bytes_by_language, cautions, reasons, sources, steps
from rootlm.text.measures import MEASURES, Measured, measure
from rootlm.text.publish import STEP

REPORT = "report.html"
_MEASURED_CHARACTERS = 20_000_000
_EXAMPLES = 3
_EXCERPT = 220
_LANGUAGES = 12


def report(corpus: Corpus, path: Path, most_characters: int = _MEASURED_CHARACTERS) -> Path:
    """Write the page of a corpus to `path` and return it.

    Lengths, vocabulary and thresholds are measured on the first `most_characters` of the training split.
    """
    first = corpus.splits[0]
    measured = measure(corpus.documents(first), most_characters)
    write_report(path, build(corpus, measured))
    return path


def build(corpus: Corpus, measured: Measured) -> Report:
    """Return the page's blocks."""
    manifest = corpus.manifest
    whole = measured.documents == corpus.counts(corpus.splits[0]).documents
    seen = "all" if whole else f"the first {measured.documents:,}"
    note = f"Measured on {seen} documents of the {corpus.splits[0]} split."
    blocks: list[Block] = [
        Figures(_figures(corpus)),
        *cautions(corpus),
        Table(["step", "read", "changed", "dropped", "kept"], steps(manifest), "What each step did"),
        Table(
            ["step", "reason", "documents", "of all read"], reasons(manifest), "Why documents were dropped"
        ),
        Curves(_length_charts(measured), "Lengths", note),
        Curves(_vocabulary_charts(measured), "Vocabulary", _vocabulary_note(measured) + " " + note),
        Table(
            ["setting", "what it limits", "now", *[f"try {number}" for number in range(1, 8)]],
            _thresholds(corpus, measured),
            "What stricter quality limits would drop",
            f"The share of the kept documents that would go too, at each threshold. {note}",
        ),
        Table(
            ["language", *chain.from_iterable((f"{split}, documents", "MB") for split in corpus.splits)],
            _languages(corpus),
            "Languages",
        ),
        Table(
            ["source", "licence", "origin", "files", "MB", "read", "kept", "encodings"],
            sources(corpus),
            "Sources",
        ),
        *_personal_data(manifest),
        Samples(
            _dropped(corpus),
            "What was dropped",
            "A few of each reason; rootlm data show has more. A near-duplicate names what it repeats.",
        ),
        Samples(_samples(corpus), "What it says", "Drawn at random from the training split."),
        Verbatim(
            yaml.safe_dump(manifest["settings"], sort_keys=False, allow_unicode=True).rstrip(),
            "Settings",
            folded=True,
        ),
    ]
    return Report(
        corpus.folder.resolve().name,
        [block for block in blocks if not isinstance(block, Table) or block.rows],
        f"corpus · fingerprint {corpus.fingerprint[:16]} · made by rootlm {manifest['rootlm']}",
    )


def _figures(corpus: Corpus) -> list[Figure]:
    manifest = corpus.manifest
    totals = [corpus.counts(split) for split in corpus.splits]
    read, kept = manifest["steps"][0]["read"], sum(total.documents for total in totals)
    duplicates = sum(sum(step["dropped"].values()) for step in manifest["steps"] if step["step"] == STEP)
    size = sum(total.bytes for total in totals)
    characters = sum(total.characters for total in totals)
    return [
        Figure(
            "documents", f"{kept:,}", f"{manifest['steps'][-1]['kept'] / read:.1%} of {read:,} read were kept"
        ),
        Figure("text", f"{short_number(size / 1e6)} MB", f"{short_number(characters)} characters"),
        Figure("duplicates dropped", f"{duplicates:,}", f"{duplicates / read:.1%} of all read"),
        Figure("held out", f"{kept - totals[0].documents:,}", "documents for validation and test"),
        Figure("sources", f"{len(manifest['sources'])}", f"{len(bytes_by_language(corpus))} languages"),
    ]


def _dropped(corpus: Corpus) -> list[Sample]:
    shown: dict[tuple[str, str], int] = {}
    found = []
    for example in corpus.dropped():
        key = (example["step"], example["reason"])
        shown[key] = shown.get(key, 0) + 1
        if shown[key] <= _EXAMPLES:
            same = f" = {example['duplicate_of']}" if "duplicate_of" in example else ""
            found.append(
                Sample(f"{key[0]}: {key[1]}", f"{example['source']}{same}", _excerpt(example["text"]))
            )
    return found


def _samples(corpus: Corpus) -> list[Sample]:
    documents = corpus.sample(corpus.splits[0], 6)
    return [
        Sample(str(document.meta.get("language", "")), document.source, _excerpt(document.text))
        for document in documents
    ]


def _excerpt(text: str) -> str:
    """Return how a text begins, on a line of its own, its line ends as signs."""
    flat = " ↵ ".join(line.strip() for line in text.splitlines() if line.strip())
    return "\n" + (flat if len(flat) <= _EXCERPT else flat[:_EXCERPT] + " …")


def _length_charts(measured: Measured) -> list[Chart]:
    points = measured.length_curve()
    total = sum(count for _, count in points) or 1
    below, running = [], 0.0
    for size, count in points:
        running += count
        below.append((size, running / total))
    return [
        Chart(
            "documents of a length", [Series("documents", points)], "characters", x_log=True, log_scale=True
        ),
        Chart(
            "share of documents up to a length",
            [Series("share", below)],
            "characters",
            x_log=True,
            from_zero=True,
        ),
    ]


def _vocabulary_charts(measured: Measured) -> list[Chart]:
    growth = {name: kind for name, kind in measured.growth.items() if kind.words}
    heaps = [Series(name, kind.marks) for name, kind in growth.items()]
    zipf = [Series(name, kind.zipf()) for name, kind in growth.items()]
    return [
        Chart("different ones among the first n", heaps, "n", x_log=True, log_scale=True, starts_log=True),
        Chart(
            "how often the one of a rank is said", zipf, "rank", x_log=True, log_scale=True, starts_log=True
        ),
    ]


def _vocabulary_note(measured: Measured) -> str:
    said = []
    for name, kind in measured.growth.items():
        slope = kind.heaps()
        if slope is not None:
            said.append(f"{name}: {len(kind.counts):,} different among {kind.words:,}, Heaps' β {slope:.2f}")
    return "; ".join(said) + "." if said else ""


def _thresholds(corpus: Corpus, measured: Measured) -> list[list[str]]:
    now = corpus.manifest["settings"].get("quality") or {}
    rows = []
    for name, (what, is_most, thresholds) in MEASURES.items():
        sign = "≤" if is_most else "≥"
        cells = [f"{sign} {threshold:g}: {measured.dropped(name, threshold):.2%}" for threshold in thresholds]
        cells += [""] * (7 - len(cells))
        rows.append([name, what, f"{now.get(name, '—')}", *cells])
    return rows


def _languages(corpus: Corpus) -> list[list[str]]:
    totals = bytes_by_language(corpus)
    rows = []
    for name in islice(sorted(totals, key=lambda name: -totals[name]), _LANGUAGES):
        cells = []
        for split in corpus.splits:
            entry = corpus.manifest["splits"][split]["languages"].get(name, {"documents": 0, "bytes": 0})
            cells += [f"{entry['documents']:,}", f"{entry['bytes'] / 1e6:,.2f}"]
        rows.append([name, *cells])
    return rows


def _personal_data(manifest: Mapping[str, Any]) -> list[Block]:
    counts = manifest.get("personal_data") or {}
    if not counts:
        return []
    languages = sorted({language for kind in counts.values() for language in kind})
    rows = [
        [kind, *(f"{counts[kind].get(language, 0):,}" for language in languages)]
        for kind in sorted(counts, key=lambda kind: -sum(counts[kind].values()))
    ]
    note = "Found and replaced, by kind and by the language of the document. No value is kept anywhere."
    return [Table(["kind", *languages], rows, "Personal data", note)]
