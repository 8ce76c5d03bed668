"""A report in one HTML file that needs nothing else: figures, curves, tables, samples, the recipe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rootlm.core import charts, files
from rootlm.core.charts import Chart
from rootlm.core.word_map import Place, draw_map

_TEMPLATES = Path(__file__).parent / "templates"
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[\U00020000-\U0003ffff]")
_NUMBER = re.compile(r"^[-+−±≈]?[\d.,  ]+\s?(%|[a-zA-Zµ/²]{0,12})$")


@dataclass(frozen=True)
class Figure:
    """One number a reader looks for first, with a word on it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Figures:
    """The key figures, as cards."""

    items: Sequence[Figure]
    title: str = ""


@dataclass(frozen=True)
class Notice:
    """A sentence that stands out."""

    text: str
    level: Literal["good", "warning", "plain"] = "plain"
    title: str = ""


@dataclass(frozen=True)
class Curves:
    """Charts side by side; charts without a single value are left out."""

    charts: Sequence[Chart]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text; columns of numbers are set flush right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Sample:
    """What a model wrote, after what, and when."""

    when: str
    prompt: str
    text: str


@dataclass(frozen=True)
class Samples:
    """Text samples in the order given."""

    items: Sequence[Sample]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Prose:
    """Paragraphs, one per string."""

    paragraphs: Sequence[str]
    title: str = ""


@dataclass(frozen=True)
class Verbatim:
    """Text that keeps its lines, folded away when it is long."""

    text: str
    title: str = ""
    folded: bool = False


@dataclass(frozen=True)
class WordMap:
    """Words on a plane, to be moved, enlarged and searched."""

    places: Sequence[Place]
    title: str = ""
    note: str = ""


Block = Figures | Notice | Curves | Table | Samples | Prose | Verbatim | WordMap


@dataclass(frozen=True)
class Report:
    """A title and the blocks under it, in order."""

    title: str
    blocks: Sequence[Block]
    subtitle: str = ""


def write_report(path: Path, report: Report) -> None:
    """Write a report as one HTML file, whole or not at all."""
    files.write_text(path, render(report))


def render(report: Report) -> str:
    """Return the HTML: every text escaped, nothing loaded from elsewhere."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"language": language, "chart": _chart, "wordmap": _word_map, "kind_of": _kind}
    environment.globals |= {"kind": _kind, "numeric": _numeric_columns}
    return environment.get_template("report.html.j2").render(report=report)


def language(text: str) -> str:
    """Return the language mark that gives Han characters their Chinese shapes.

    >>> language("床前明月光"), language("To be")
    ('zh', 'en')
    """
    return "zh" if _HAN.search(text) else "en"


def _word_map(block: WordMap) -> str:
    return draw_map(block.title, block.places)


def _kind(block: Block) -> str:
    return type(block).__name__


def _numeric_columns(table: Table) -> list[bool]:
    """Say of each column whether all that it holds are numbers."""
    columns = range(len(table.head))
    cells = [[row[column] for row in table.rows if row[column] not in ("", "—")] for column in columns]
    return [bool(column) and all(_NUMBER.match(cell) for cell in column) for column in cells]


def _chart(chart: Chart) -> dict[str, object]:
    """Return what the template needs to show a chart, empty when there is nothing to draw."""
    linear = charts.draw(chart)
    logarithmic = charts.draw(chart, log=True) if chart.log_scale else charts.Drawing("", [])
    places = {"linear": linear.places, "log": logarithmic.places}
    names = [series.name for series in chart.series]
    hover = {"x": chart.x_label, "names": names, "places": places, "width": charts.WIDTH}
    # A closing tag inside a name must not end the script that holds the data.
    data = orjson.dumps(hover).decode().replace("<", "\\u003c")
    return {
        "chart": chart,
        "linear": linear.svg,
        "log": logarithmic.svg,
        "hover": data,
        "height": charts.HEIGHT,
    }
