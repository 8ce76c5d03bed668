"""Charts and reports: whole, escaped, and in need of nothing from elsewhere."""

from __future__ import annotations

import json
import math
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from made_up_runs import run_records
from rootlm.core import normal
from rootlm.core.charts import HEIGHT, WIDTH, Chart, Series, draw
from rootlm.core.records import Records
from rootlm.core.report import (
    Curves,
    Figure,
    Figures,
    Notice,
    Prose,
    Report,
    Sample,
    Samples,
    Table,
    Verbatim,
    render,
    write_report,
)  # fmt: skip
from rootlm.core.run_report import build, run_report, total_seconds

HOSTILE = "</script><script>alert('x')</script> & 床前明月光"
VOID = {"meta", "input", "line", "br", "link", "img"}


class Checker(HTMLParser):
    """Collects tags, words and attributes, and fails on a tag closed out of turn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.attributes += attributes
        if tag not in VOID or tag == "line":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.attributes += attributes

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] == "script" else self.words).append(data)


def curve(steps: int) -> list[tuple[float, float | None]]:
    return [(step, 5 * math.exp(-step / 50) + 2) for step in range(steps)]


def everything(word: str = HOSTILE) -> Report:
    return Report(
        word,
        [
            Figures([Figure(word, "1.234", word)], word),
            Notice(word, "warning", word),
            Curves(
                [Chart(word, [Series(word, curve(30), dots=True)], word, word, log_scale=True)], word, word
            ),
            Table([word, "number"], [[word, "1,234"], [word, "5.6"]], word, word),
            Samples([Sample("step 1", word, word)], word, word),
            Prose([word], word),
            Verbatim(word, word),
            Verbatim(word, word, folded=True),
        ],
        word,
    )


def test_every_block_is_escaped_and_well_formed() -> None:
    page = Checker(render(everything()))
    assert "".join(page.words).count(HOSTILE) >= 15
    assert len(page.scripts) == 2


def test_nothing_comes_from_elsewhere() -> None:
    html = render(everything("plain"))
    assert not re.search(r"https?:|@import|url\(|//[a-z0-9-]+\.[a-z]", html)
    assert not [name for name, _ in Checker(html).attributes if name in ("src", "href", "srcset", "action")]


def test_the_points_to_hover_are_the_points_drawn() -> None:
    page = Checker(render(everything()))
    data = json.loads(page.scripts[0])
    assert data["names"] == [HOSTILE]
    assert [(x, y) for x, y, _, _ in data["places"]["linear"][0]] == [(x, y) for x, y in curve(30)]
    assert len(data["places"]["log"][0]) == 30


def test_columns_of_numbers_are_set_right() -> None:
    html = render(Report("t", [Table(["a", "b"], [["x", "1,234"], ["y", "—"], ["z", "5.6 MB"]])]))
    assert html.count('<td class="number"') == 3


def test_chinese_text_is_marked_as_chinese() -> None:
    html = render(Report("t", [Samples([Sample("1", "床前", "明月光"), Sample("2", "To", "be")])]))
    assert '<p lang="zh"><mark>床前</mark>明月光</p>' in html
    assert '<p lang="en"><mark>To</mark>be</p>' in html


def some_points(seed: int) -> list[tuple[float, float | None]]:
    pick = random.Random(seed)
    size = 10.0 ** pick.randint(-6, 6)
    odd = (None, math.nan, math.inf, 0.0, -size)
    return [
        (step * 7, pick.choice(odd) if pick.random() < 0.2 else size * pick.lognormvariate(0, 3))
        for step in range(pick.choice((1, 2, 5, 50, 2000)))
    ]


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_a_chart_of_anything_stays_inside_its_frame(seed: int, log: bool) -> None:
    spread = [1.0] * len(some_points(seed)) if seed % 3 == 0 else ()
    drawing = draw(
        Chart("c", [Series("a", some_points(seed), spread), Series("b", some_points(seed + 1))]), log=log
    )
    for series in drawing.places:
        for _, _, left, top in series:
            assert 0 <= left <= WIDTH
            assert 0 <= top <= HEIGHT
    assert "nan" not in drawing.svg
    assert "inf" not in drawing.svg


@pytest.mark.parametrize("points", [[], [(1, None)], [(1, math.nan)]])
def test_a_chart_of_nothing_is_not_drawn(points: list[tuple[float, float | None]]) -> None:
    assert draw(Chart("c", [Series("a", points)])).svg == ""
    assert "<figure" not in render(Report("t", [Curves([Chart("c", [Series("a", points)])])]))


def test_a_run_is_reported_from_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "诗"
    with Records(folder / "metrics.jsonl") as records:
        for record in run_records():
            records.write(record)
    (folder / "recipe.yaml").write_text("model:\n  kind: decoder # <深>\n", encoding="utf-8")
    normal.write_reference(
        folder / "reference.json", normal.summarise("poems", [run_records(1), run_records(2)])
    )
    words = "".join(Checker(run_report(folder).read_text(encoding="utf-8")).words)
    for wanted in (
        *("诗", "6,332,416", "2 Wh", "estimated: why", "40% of the machine", "明月光400", "On track"),
        *("reference, 2 runs", "kind: decoder # <深>", "Learning rate", "Gradient norm", "a processor"),
    ):
        assert wanted in words, wanted


def test_a_run_can_be_reported_at_any_moment() -> None:
    records = run_records()
    records[3]["loss"] = None
    for length in (0, 1, 2, 5, len(records) // 2, len(records)):
        Checker(render(build("run", records[:length], "", None)))


def test_early_samples_and_the_last_are_shown() -> None:
    words = "".join(Checker(render(build("run", run_records(steps=5000)))).words)
    assert "明月光50\n" in words or "明月光50" in words
    assert "明月光5000" in words
    assert "10 of 100" in words


def test_seconds_are_of_all_sessions() -> None:
    assert total_seconds(run_records()) == pytest.approx(40.0)


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    write_report(tmp_path / "new" / "report.html", everything())
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == render(everything())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]
