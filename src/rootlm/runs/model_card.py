"""The README of a run folder: what the model is, what it read, how good it is, how to use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rootlm.core.progress import duration, short_number
from rootlm.core.records import Record, of_kind
from rootlm.runs.prepared import Prepared


def model_card(prepared: Prepared, records: list[Record]) -> str:
    """Return the card as Markdown, with the front matter that model hubs read."""
    start, ends = of_kind(records, "start")[0], of_kind(records, "end")
    looks = of_kind(records, "validation")
    name = prepared.folder.resolve().name
    steps = "1 step" if start["steps"] == 1 else f"{start['steps']:,} steps"
    lines = [
        "---",
        "library_name: rootlm",
        f"pipeline_tag: {prepared.recipe.objective.hub_task}",
        *_listed("language", _languages(prepared)),
        "---",
        "",
        f"# {name}",
        "",
        f"A model of kind {prepared.recipe.model.kind} with {short_number(start['parameters'])} parameters, trained "
        f"with rootlm in {steps} and {duration(sum(end['seconds'] for end in ends[-1:]))}.",
        "",
        "## How good",
        "",
        _score(looks),
        "",
        "## What it read",
        "",
        "| corpus | source | licence | origin |",
        "| --- | --- | --- | --- |",
        *_sources(prepared),
        "",
        "## How to use it",
        "",
        "```",
        "rootlm " + prepared.recipe.objective.used_by.format(run=prepared.folder),
        f"rootlm evaluate {prepared.folder} data=YOUR_TEXT",
        "```",
        "",
        "`recipe.yaml` is the whole recipe, `report.html` the course of the training. The model repeats what its",
        "corpus holds, mistakes and prejudice included; it knows nothing else.",
    ]
    return "\n".join(lines) + "\n"


def _score(looks: list[Record]) -> str:
    if not looks:
        return "There was no validation split, so nothing is known."
    best: Mapping[str, Any] = min(looks, key=lambda record: record["loss"])
    if "bits_per_byte" not in best:
        return f"A loss of {best['loss']:.3f} on the validation split, at step {best['step']:,}."
    return (
        f"{best['bits_per_byte']:.3f} bits per byte on the validation split, at step {best['step']:,}. "
        "`rootlm evaluate` scores the test split, with an interval."
    )


def _languages(prepared: Prepared) -> list[str]:
    counts: dict[str, int] = {}
    for corpus in prepared.material.corpora:
        for split in corpus.manifest["splits"].values():
            for language, count in split["languages"].items():
                counts[language] = counts.get(language, 0) + count["bytes"]
    whole = sum(counts.values())
    return [
        language
        for language, count in sorted(counts.items(), key=lambda item: -item[1])
        if count > whole / 100
    ]


def _sources(prepared: Prepared) -> list[str]:
    return [
        f"| {corpus.folder.name} | {source['name']} | {source['licence']} | {source['origin']} |"
        for corpus in prepared.material.corpora
        for source in corpus.manifest["sources"]
    ]


def _listed(name: str, values: list[str]) -> list[str]:
    return [f"{name}:", *(f"- {value}" for value in values)] if values else []
