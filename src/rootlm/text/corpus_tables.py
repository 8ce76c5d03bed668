"""What a corpus's manifest says, as rows: steps, reasons, sources, languages, and what to bear in mind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rootlm.core.report import (
    Notice,
)
from rootlm.text.corpus import Corpus


def steps(manifest: Mapping[str, Any]) -> list[list[str]]:
    """Return what each step read, changed, dropped and kept, by a manifest."""
    return [
        [
            step["step"],
            f"{step['read']:,}",
            f"{step['changed']:,}",
            f"{sum(step['dropped'].values()):,}",
            f"{step['kept']:,}",
        ]
        for step in manifest["steps"]
    ]


def reasons(manifest: Mapping[str, Any]) -> list[list[str]]:
    """Return why documents were dropped, step by step, and how many of all that were read."""
    read = max(manifest["steps"][0]["read"], 1)
    return [
        [step["step"], reason, f"{count:,}", f"{count / read:.2%}"]
        for step in manifest["steps"]
        for reason, count in sorted(step["dropped"].items(), key=lambda pair: -pair[1])
    ]


def bytes_by_language(corpus: Corpus) -> dict[str, int]:
    """Return how many bytes of text each language has, over all splits."""
    totals: dict[str, int] = {}
    for split in corpus.splits:
        for name, entry in corpus.manifest["splits"][split]["languages"].items():
            totals[name] = totals.get(name, 0) + entry["bytes"]
    return totals


def sources(corpus: Corpus) -> list[list[str]]:
    """Return what each source is, how much of it was read and kept, and how it was encoded."""
    reading = {entry["name"]: entry for entry in corpus.manifest["reading"]}
    rows = []
    for source in corpus.manifest["sources"]:
        name = source["name"]
        kept = sum(
            corpus.manifest["splits"][split]["sources"].get(name, {}).get("documents", 0)
            for split in corpus.splits
        )
        rows.append(
            [
                name,
                source["licence"],
                source["origin"],
                f"{source['files']:,}",
                f"{source['bytes'] / 1e6:,.2f}",
                f"{reading[name]['read']:,}",
                f"{kept:,}",
                ", ".join(reading[name]["encodings"]),
            ]
        )
    return rows


def cautions(corpus: Corpus) -> list[Notice]:
    """Return what whoever uses the corpus should bear in mind."""
    manifest = corpus.manifest
    found = []
    unknown = [source["name"] for source in manifest["sources"] if source["licence"] == "unknown"]
    if unknown:
        found.append(
            Notice(
                f"The licence of {', '.join(unknown[:5])}{' and others' if len(unknown) > 5 else ''} is not known; "
                "set sources.licence before you pass the corpus or a model of it on.",
                "warning",
            )
        )
    unread = sum(manifest["steps"][0]["dropped"].values())
    if unread:
        found.append(Notice(f"{unread:,} broken records were left out while reading.", "warning"))
    return found
