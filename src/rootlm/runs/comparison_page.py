"""A comparison as a table for the terminal and as a page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rootlm.core import files
from rootlm.core.charts import Chart, Series
from rootlm.core.plain_table import plain_table
from rootlm.core.progress import duration, short_number
from rootlm.core.report import Block, Curves, Notice, Prose, Report, Table, write_report
from rootlm.evaluation.intervals import Interval
from rootlm.runs.comparison import Comparison, Costs, Standing

RESULT, PAGE = "compare.json", "compare.html"
HEAD = ("model", "bits per byte", "95 % interval", "above the one before", "parameters", "training", "tokens/s",
        "energy", "size", "memory")  # fmt: skip
_AXES: tuple[tuple[str, str, Callable[[Costs], float | None]], ...] = (
    ("Parameters", "parameters", lambda costs: costs.parameters),
    ("Training time", "seconds", lambda costs: costs.seconds),
    ("Speed of training", "tokens per second", lambda costs: costs.tokens_per_second),
    ("Energy of training", "joules", lambda costs: costs.joules),
    ("Size on disk", "MB", lambda costs: costs.disk_bytes / 1e6),
)


def terminal_table(comparison: Comparison) -> str:
    """Return the table of all models, the best first, with its remarks below."""
    return "\n".join(
        [plain_table(HEAD, _rows(comparison)), "", *_remarks(comparison), _energy_note(comparison)]
    ).rstrip()


def page(comparison: Comparison) -> Report:
    """Return the page: verdict, table, plots, diversity, samples side by side, how it was measured."""
    first = comparison.standings[0].evaluation
    blocks: list[Block] = [
        Notice(verdict(comparison), "good"),
        Table(HEAD, _rows(comparison), "On one scale", " ".join(_remarks(comparison))),
        Curves(_charts(comparison), "What a better model costs", "Bars are 95 % intervals. Lower is better."),
        _varied(comparison),
        _side_by_side(comparison),
        Prose(_method(comparison), "How this was measured"),
    ]
    subtitle = (
        f"{comparison.corpus.folder.name}, {comparison.asked.split}: {len(first.bytes):,} documents, "
        f"{int(first.bytes.sum()):,} bytes"
    )
    return Report("Language models on one scale", blocks, subtitle)


def save(comparison: Comparison, folder: Path) -> Path:
    """Write `compare.json` and `compare.html` into a folder; returns the page."""
    files.write_json(folder / RESULT, comparison.to_plain())
    write_report(folder / PAGE, page(comparison))
    return folder / PAGE


def verdict(comparison: Comparison) -> str:
    """Say in a sentence which model is best and whether that is sure."""
    best, *others = comparison.standings
    said = f"{best.name} predicts the held-out text best, with {best.bits.value:.3f} bits per byte"
    if not others:
        return f"{said}."
    gap = comparison.gaps()[0]
    margin = f"{gap.value:.3f} bits per byte less than {others[0].name}"
    if gap.low is None or gap.high is None:
        return f"{said}: {margin}, on one document, which tells nothing of others."
    between = f"{gap.low:.3f} to {gap.high:.3f}"
    if gap.low <= 0:
        return f"{said}: {margin}, which may be chance (95 % interval {between})."
    return f"{said}: {margin} (95 % interval {between}, in pairs of documents)."


def _rows(comparison: Comparison) -> list[list[str]]:
    gaps: list[Interval | None] = [None, *comparison.gaps()]
    return [_row(one, gap) for one, gap in zip(comparison.standings, gaps, strict=True)]


def _row(one: Standing, gap: Interval | None) -> list[str]:
    paid = one.costs
    return [
        one.name,
        f"{one.bits.value:.3f}",
        _between(one.bits, ".3f"),
        "—" if gap is None else f"{gap.value:+.3f} ({_between(gap, '+.3f')})",
        _or_unknown(paid.parameters, short_number),
        _or_unknown(paid.seconds, duration),
        _or_unknown(paid.tokens_per_second, short_number),
        _or_unknown(paid.joules, _energy),
        _size(paid.disk_bytes / 1e6),
        _or_unknown(paid.peak_memory_mb, _size),
    ]


def _charts(comparison: Comparison) -> list[Chart]:
    charts = []
    for title, unit, cost in _AXES:
        series = []
        for one in comparison.standings:
            paid = cost(one.costs)
            if paid:
                bar = (one.bits.low or one.bits.value, one.bits.high or one.bits.value)
                series.append(Series(one.name, [(paid, one.bits.value)], dots=True, bars=[bar]))
        if series:
            charts.append(Chart(title, series, x_label=unit, y_label="bits per byte", x_log=True))
    return charts


def _varied(comparison: Comparison) -> Table:
    head = ("model", "distinct-1", "distinct-2", "distinct-3", "self-BLEU", "repetition", "mean length")
    rows = []
    for one in comparison.standings:
        found = one.diversity
        shares = [*found.distinct, found.self_bleu, found.repetition]
        rows.append([one.name, *(f"{share:.3f}" for share in shares), f"{found.units:.1f}"])
    asked = comparison.asked
    note = (
        f"{asked.texts} texts after each of {len(comparison.prompts)} prompts, each cut to 50 characters or words. "
        "Distinct-n is higher for varied texts, self-BLEU and repetition are lower. Longer texts seem less varied: "
        "compare models of like mean length."
    )
    return Table(head, rows, "How varied they write", note)


def _side_by_side(comparison: Comparison) -> Table:
    rows = [
        [prompt, *(max(one.texts[number], key=len) for one in comparison.standings)]
        for number, prompt in enumerate(comparison.prompts)
    ]
    head = ["prompt", *(one.name for one in comparison.standings)]
    return Table(head, rows, "What they write", "The longest of each model's texts after the same words.")


def _method(comparison: Comparison) -> list[str]:
    return [
        "Bits per byte is −log₂ of the probability of all tokens of the held-out documents, their ends included, "
        "divided by the UTF-8 bytes of the raw text. Bytes that a tokenizer loses cost 8 bits each. So models with "
        "different tokenizers stand on one scale.",
        "Intervals are bootstraps over documents (1,000 resamples). A difference is drawn in pairs: both models on the "
        "same documents, whose own difficulty cancels. A difference whose interval holds 0 may be chance.",
        "Parameters, seconds, tokens, energy and memory come from each run's own records. Seconds are of training "
        "steps; energy is of the whole run, its looks at held-out text and its samples included. Size is config, "
        "weights and tokenizer.",
        _energy_note(comparison),
    ]


def _remarks(comparison: Comparison) -> list[str]:
    return [f"{one.name} {remark}." for one in comparison.standings for remark in one.remarks]


def _energy_note(comparison: Comparison) -> str:
    sources = dict.fromkeys(
        one.costs.joules_source for one in comparison.standings if one.costs.joules_source
    )
    return f"Energy: {' / '.join(sources)}." if sources else "No run has recorded its energy."


def _between(interval: Interval, form: str) -> str:
    if interval.low is None or interval.high is None:
        return "one document"
    return f"{interval.low:{form}} – {interval.high:{form}}"


def _or_unknown(value: float | None, say: Callable[[float], str]) -> str:
    return "—" if value is None else say(value)


def _energy(joules: float) -> str:
    return f"{joules / 3.6e6:.3g} kWh" if joules >= 1e5 else f"{joules / 3600:.3g} Wh"


def _size(megabytes: float) -> str:
    return f"{megabytes:,.1f} MB" if megabytes < 100 else f"{megabytes:,.0f} MB"
