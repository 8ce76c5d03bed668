"""The report of a training run, made from its folder: `metrics.jsonl`, `recipe.yaml`, a reference curve."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from rootlm.core import normal
from rootlm.core.charts import Chart, Series
from rootlm.core.normal import Reference, Verdict
from rootlm.core.progress import duration, short_number
from rootlm.core.records import Record, of_kind, read
from rootlm.core.report import (
    Block,
    Curves,
    Figure,
    Figures,
    Notice,
    Report,
    Sample,
    Samples,
    Table,
    Verbatim,
    write_report,
)

METRICS, RECIPE, REFERENCE, REPORT = "metrics.jsonl", "recipe.yaml", "reference.json", "report.html"
GENERALISATION = (
    "text",
    "documents",
    "bytes",
    "bits per byte",
    "95 % interval",
    "gap",
    "95 % interval of the gap",
)
_MOST_SAMPLES = 10


def run_report(folder: Path, reference: Reference | None = None) -> Path:
    """Write `report.html` into a run's folder and return its path.

    Without a `reference`, one that lies in the folder as `reference.json` is used, else none.
    """
    records = read(folder / METRICS)
    if reference is None and (folder / REFERENCE).exists():
        reference = normal.read_reference(folder / REFERENCE)
    recipe = (folder / RECIPE).read_text(encoding="utf-8") if (folder / RECIPE).exists() else ""
    path = folder / REPORT
    write_report(path, build(folder.resolve().name, records, recipe, reference))
    return path


def build(name: str, records: list[Record], recipe: str = "", reference: Reference | None = None) -> Report:
    """Return the report of a run from its records."""
    blocks: list[Block] = [Figures(key_figures(records))]
    if reference:
        blocks.append(_notice(normal.judge(records, reference)))
    blocks += [
        Curves(_learning(records, reference), "What it learned", _reference_note(reference)),
        Table(
            GENERALISATION,
            generalisation_rows(of_kind(records, "generalisation")),
            "Does it hold on new text?",
            "Bits per byte of the run's model; the gap is to the text it was trained on.",
        ),
        Samples(_samples(records), "What it wrote", _samples_note(records)),
        Curves(_running(records), "How it ran"),
        Table(["", ""], _facts(records), "Where it ran"),
        Verbatim(recipe.rstrip(), "Recipe", folded=recipe.count("\n") > 30),
    ]
    return Report(name, [block for block in blocks if _holds_something(block)], _subtitle(records))


def generalisation_rows(found: Sequence[Record]) -> list[list[str]]:
    """Return a row for each text that a run was scored on at its end."""
    rows = []
    for one in found:
        bits, gap = one["bits_per_byte"], one["gap"]
        row = [
            one["text"],
            f"{one['documents']:,}",
            f"{one['bytes']:,}",
            f"{bits['value']:.3f}",
            _between(bits),
        ]
        rows.append([*row, f"{gap['value']:+.3f}" if gap else "—", _between(gap) if gap else "—"])
    return rows


def _between(interval: Record) -> str:
    if interval["low"] is None:
        return "one document"
    return f"{interval['low']:.3f} – {interval['high']:.3f}"


def key_figures(records: list[Record]) -> list[Figure]:
    """Return the numbers a reader looks for first; those without a record are left out."""
    train, validation = of_kind(records, "train"), of_kind(records, "validation")
    figures: list[Figure] = []
    for key, label in (
        ("bits_per_byte", "bits per byte"),
        ("loss", "validation loss"),
        ("accuracy", "accuracy"),
    ):
        scored = [record for record in validation if record.get(key) is not None]
        if scored:
            best = (max if key == "accuracy" else min)(scored, key=lambda record, key=key: record[key])  # type: ignore[misc]
            value = f"{best[key]:.1%}" if key == "accuracy" else f"{best[key]:.3f}"
            note = (
                "tokens told right"
                if key == "accuracy"
                else "nats per token"
                if key == "loss"
                else "held-out text"
            )
            figures.append(Figure(label, value, f"{note}, best at step {best['step']:,}"))
    start = _merged(of_kind(records, "start"))
    if start.get("parameters"):
        figures.append(Figure("parameters", short_number(start["parameters"]), f"{start['parameters']:,}"))
    if train:
        last = train[-1]
        figures.append(
            Figure("tokens read", short_number(last.get("tokens", 0)), f"in {last['step']:,} steps")
        )
        figures += _speed(train)
    seconds = total_seconds(records)
    if seconds:
        figures.append(Figure("time", duration(seconds), "of training"))
    energy = _energy(records)
    return [*figures, energy] if energy else figures


def total_seconds(records: list[Record]) -> float:
    """Return the seconds of training, all sessions of a resumed run together."""
    return max((record["seconds"] for record in records if record.get("seconds") is not None), default=0.0)


def _speed(train: Sequence[Record]) -> list[Figure]:
    rates = [record["tokens_per_second"] for record in train if record.get("tokens_per_second")]
    shares = [record["peak_share"] for record in train if record.get("peak_share")]
    if not rates:
        return []
    note = f"{statistics.median(shares):.0%} of the machine's measured peak" if shares else "median"
    return [Figure("tokens per second", short_number(statistics.median(rates)), note)]


def _energy(records: list[Record]) -> Figure | None:
    ends = [record for record in of_kind(records, "end") if record.get("energy_joules") is not None]
    if not ends:
        return None
    joules = sum(record["energy_joules"] for record in ends)
    value = f"{joules / 3.6e6:.3g} kWh" if joules >= 1e5 else f"{joules / 3600:.3g} Wh"
    return Figure("energy", value, str(ends[-1].get("energy_source", "")))


def _notice(verdict: Verdict) -> Notice:
    levels = {"on track": "good", "too high": "warning", "too low": "warning", "too early": "plain"}
    level = levels[verdict.state]
    return Notice(verdict.sentence, level, "Is this normal?")  # type: ignore[arg-type]


def _learning(records: list[Record], reference: Reference | None) -> list[Chart]:
    charts: list[Chart] = []
    for key, title, unit in (
        ("loss", "Loss", "nats per token"),
        ("bits_per_byte", "Bits per byte", "lower is better"),
        ("accuracy", "Accuracy", "share of tokens told right"),
    ):
        series = [
            Series("training", _points(records, "train", key)),
            Series("validation", _points(records, "validation", key), dots=True),
        ]
        series = [one for one in series if one.points]
        if series and reference and reference.measure == key:
            series.append(_reference_series(records, reference))
        if series:
            log = key != "accuracy"
            charts.append(Chart(title, series, y_label=unit, log_scale=log, starts_log=log))
    return charts


def _running(records: list[Record]) -> list[Chart]:
    charts: list[Chart] = []
    for key, title in (
        ("learning_rate", "Learning rate"),
        ("gradient_norm", "Gradient norm"),
        ("tokens_per_second", "Tokens per second"),
        ("peak_share", "Share of the measured peak"),
    ):
        points = _points(records, "train", key)
        if points:
            name = title.lower()
            charts.append(
                Chart(title, [Series(name, points)], log_scale=key in ("gradient_norm", "learning_rate"))
            )
    return charts


def _points(records: list[Record], kind: str, key: str) -> list[tuple[float, float | None]]:
    return [(record["step"], record[key]) for record in of_kind(records, kind) if key in record]


def _reference_series(records: list[Record], reference: Reference) -> Series:
    """Return the reference's curve over this run's steps: the same tokens, whatever the batch."""
    pace = [(r["tokens"], r["step"]) for r in records if r.get("tokens") and r.get("step")]
    tokens_per_step = pace[-1][0] / pace[-1][1] if pace else 1.0
    far = max((tokens for tokens, _ in pace), default=0) * 1.02
    points = [point for point in reference.points if point.tokens <= far]
    return Series(
        f"reference, {reference.runs} runs",
        [(point.tokens / tokens_per_step, point.validation) for point in points],
        spread=[point.validation_spread for point in points],
        dashed=True,
    )


def _reference_note(reference: Reference | None) -> str:
    if not reference:
        return ""
    runs = f"{reference.runs} runs of {reference.recipe}"
    return f"The reference is the mean of {runs}; its band is one standard deviation."


def _samples(records: list[Record]) -> list[Sample]:
    found = of_kind(records, "sample")
    return [
        Sample(f"step {r['step']:,}", r.get("prompt", ""), r["text"].removeprefix(r.get("prompt", "")))
        for r in _spread_out(found, _MOST_SAMPLES)
    ]


def _samples_note(records: list[Record]) -> str:
    count = len(of_kind(records, "sample"))
    return f"{_MOST_SAMPLES} of {count}; all are in {METRICS}." if count > _MOST_SAMPLES else ""


def _spread_out(records: list[Record], most: int) -> list[Record]:
    """Return at most so many records, evenly spread, the last step's samples always among them."""
    if len(records) <= most:
        return records
    steps = list(dict.fromkeys(record["step"] for record in records))
    per_step = max(1, round(len(records) / len(steps)))
    wanted = max(2, most // per_step)
    gap = (len(steps) - 1) / (wanted - 1)
    chosen = {steps[round(number * gap)] for number in range(wanted)}
    return [record for record in records if record["step"] in chosen]


def _facts(records: list[Record]) -> list[list[str]]:
    """Return what the run said about itself when it started, and how it ended."""
    starts, ends = of_kind(records, "start"), of_kind(records, "end")
    start = _merged(starts)
    rows = [
        [key.replace("_", " "), _word(value)] for key, value in start.items() if key not in ("kind", "step")
    ]
    if len(starts) > 1:
        rows.append(["sessions", f"{len(starts)} (stopped and resumed)"])
    if ends:
        rows += [
            [key.replace("_", " "), _word(value)]
            for key, value in ends[-1].items()
            if key not in ("kind", "step")
        ]
    return rows


def _merged(records: list[Record]) -> Record:
    return {key: value for record in records for key, value in record.items()}


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_word(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_word(inner) for inner in value)
    return "none" if value is None else str(value)


def _subtitle(records: list[Record]) -> str:
    start = _merged(of_kind(records, "start"))
    ended = bool(records) and records[-1].get("kind") == "end"
    parts = [str(start["device"])] if start.get("device") else []
    parts.append("finished" if ended else "not finished when this was written")
    return " · ".join(parts)


def _holds_something(block: Block) -> bool:
    content = {
        Figures: "items", Curves: "charts", Table: "rows", Samples: "items", Verbatim: "text", Notice: "text"
    }  # fmt: skip
    return bool(getattr(block, content.get(type(block), "title")))
