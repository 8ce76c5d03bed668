"""The page and the card of a corpus say what the corpus is; what they measure is measured right."""

from __future__ import annotations

import math
import random
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from rootlm.cli import data_report
from rootlm.core.config import validate
from rootlm.text.document import Document
from rootlm.text.measures import Growth, measure
from rootlm.text.prepare import prepare
from rootlm.text.settings import Prepare


class Words(HTMLParser):
    """The words a reader sees, and what the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.loaded: list[str] = []

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_and_the_card_tell_of_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = random.Random(1)
    words = ["moon", "river", "light", "year", "people", "first", "shine", "water", "night", "song"]
    texts = ["．".join(" ".join(generator.choices(words, k=9)) for _ in range(6)) for _ in range(80)]
    texts += [
        "春江潮水连海平，海上明月共潮生。" + "".join(generator.choices("滟滟随波千万里何处春江无月明", k=40))
        for _ in range(80)
    ]
    texts += [texts[0], "12 34 56 78 90 12"]
    (tmp_path / "mine.txt").write_text("\n".join(texts), encoding="utf-8")
    given = {
        "sources": [{"path": str(tmp_path / "mine.txt"), "licence": "CC0-1.0", "origin": "a | pipe <b>"}],
        "read": {"documents": "line"},
    }
    corpus = prepare(validate(Prepare, given), tmp_path / "corpus")
    data_report.run([str(corpus.folder)])
    assert str(corpus.folder / "report.html") in capsys.readouterr().out
    page = Words()
    page.feed((corpus.folder / "report.html").read_text(encoding="utf-8"))
    seen = " ".join(page.text)
    assert not [place for place in page.loaded if not place.startswith(("#", "data:"))]
    for told in (
        "162",
        "exact copy",
        "less than 50% letters",
        "zh",
        "en",
        "CC0-1.0",
        "a | pipe <b>",
        "Heaps",
    ):
        assert told in seen, told
    card = (corpus.folder / "card.md").read_text(encoding="utf-8")
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["license"] == "cc0-1.0"
    assert set(header["language"]) == {"zh", "en"}
    assert header["size_categories"] == ["n<1K"]
    assert "a \\| pipe <b>" in card
    assert corpus.fingerprint in card
    assert prepare(validate(Prepare, given), tmp_path / "corpus").fingerprint == corpus.fingerprint


def test_growth_finds_the_laws_it_is_drawn_from() -> None:
    generator = random.Random(0)
    ranks = range(1, 50_001)
    weights = [1 / rank for rank in ranks]
    growth = Growth()
    growth.add([str(rank) for rank in generator.choices(ranks, weights, k=100_000)])
    heaps = growth.heaps()
    assert heaps is not None and 0.5 < heaps < 0.95
    curve = dict(growth.zipf())
    slope = math.log(curve[1] / curve[100]) / math.log(100)
    assert slope == pytest.approx(1, abs=0.05)
    assert sum(growth.counts.values()) == growth.words == 100_000


def test_a_threshold_drops_what_the_rule_drops() -> None:
    texts = ["春眠不觉晓，处处闻啼鸟。", "3.14159 2.71828 1.41421", "hello\n" * 8, "□□□□ abc def", "x" * 5000]
    documents = [Document(text, str(number)) for number, text in enumerate(texts)]
    found = measure(documents, 10**9)
    for name, thresholds in {
        "min_characters": (10, 12, 100),
        "min_letter_share": (0.5, 0.9),
        "max_sign_share": (0.15, 0.5),
        "max_repeated_line_share": (0.3, 0.9),
        "max_compression": (8.0, 2.0),
    }.items():
        for threshold in thresholds:
            loose = {
                "min_characters": 0,
                "min_letter_share": 0,
                "max_sign_share": 1,
                "max_repeated_line_share": 1,
            }
            chosen = {**loose, "max_compression": 1e9, name: threshold}
            rule = validate(Prepare, {"quality": chosen}).quality
            assert rule is not None
            judge = rule.build()
            dropped = sum(judge(document) is not None for document in documents)
            assert found.dropped(name, threshold) == pytest.approx(dropped / len(texts)), (name, threshold)


def test_measuring_stops_where_it_is_told() -> None:
    documents = [Document("abcdefghij", str(number)) for number in range(10)]
    assert measure(documents, 35).documents == 4
