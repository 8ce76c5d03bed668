"""A search as a table for the terminal and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rootlm.core import files
from rootlm.core.charts import Chart, Series
from rootlm.core.plain_table import plain_table
from rootlm.core.report import Block, Curves, Notice, Report, Table, Verbatim, write_report
from rootlm.runs.settings_search import BEST, Trial

RESULT, PAGE = "search.json", "search.html"


def terminal_table(trials: Sequence[Trial]) -> str:
    """Return a row for each trial, the best first."""
    return plain_table(_head(trials), _rows(trials))


def save(trials: Sequence[Trial], out: Path) -> Path:
    """Write `search.json` and `search.html`; returns the page."""
    plain = [
        {
            "trial": one.number,
            "settings": dict(one.settings),
            "part": one.part,
            "score": one.score,
            "scores": one.scores,
            "problem": one.problem,
            "folder": str(one.folder),
        }
        for one in trials
    ]
    files.write_json(out / RESULT, plain)
    note = "The lowest validation in bits per byte, or the loss where an objective has none."
    blocks: list[Block] = [
        Notice(sentence(trials), "good"),
        Table(_head(trials), _rows(trials), "Trials", note),
        Curves(_charts(trials), "Setting by setting"),
        Verbatim((out / BEST).read_text(encoding="utf-8").rstrip(), "The best recipe", folded=True),
    ]
    write_report(out / PAGE, Report("Search", blocks))
    return out / PAGE


def sentence(trials: Sequence[Trial]) -> str:
    """Say which trial is best."""
    best = trials[0]
    chosen = ", ".join(f"{key}={value}" for key, value in best.settings.items())
    return f"Trial {best.number} is best with {best.score:.4f} on the validation split: {chosen}."


def _head(trials: Sequence[Trial]) -> list[str]:
    return ["trial", *trials[0].settings, "steps taken", "validation", "at each rung"]


def _rows(trials: Sequence[Trial]) -> list[list[str]]:
    rows = []
    for one in trials:
        score = "failed" if one.score is None else f"{one.score:.4f}"
        path = " → ".join(f"{score:.3f}" for score in one.scores)
        chosen = [str(value) for value in one.settings.values()]
        rows.append([str(one.number), *chosen, f"{one.part:.0%}", score, path])
    return rows


def _charts(trials: Sequence[Trial]) -> list[Chart]:
    charts = []
    parts = sorted({one.part for one in trials if one.score is not None}, reverse=True)
    for key in trials[0].settings:
        values = [one.settings[key] for one in trials]
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            continue
        series = []
        for part in parts:
            points = [
                (one.settings[key], one.score) for one in trials if one.part == part and one.score is not None
            ]
            # Each point by itself: a gap keeps the line from joining them.
            apart = [place for x, y in sorted(points) for place in ((x, y), (x, None))]
            series.append(Series(f"after {part:.0%} of the steps", apart, dots=True))
        spread = min(values) > 0 and max(values) / min(values) > 20
        charts.append(Chart(key, series, x_label=key.rpartition(".")[2], y_label="validation", x_log=spread))
    return charts
