"""The shipped text is whole, clean, and named in NOTICE with its licence."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
import zstandard

from rootlm import shipped

NOTICE = Path(__file__).resolve().parent.parent / "NOTICE"
COUNTS = {"poems": 28_711, "classics": 1_190, "shakespeare": 2_075, "reader": 89}


def records(text: shipped.ShippedText) -> list[dict[str, str]]:
    with text.path.open("rb") as stream:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(stream), encoding="utf-8")
        return [json.loads(line) for line in lines]


@pytest.fixture(params=shipped.paths(), ids=lambda text: text.name)
def text(request: pytest.FixtureRequest) -> shipped.ShippedText:
    return request.param


def test_every_shipped_file_is_listed() -> None:
    folder = Path(shipped.__file__).parent
    assert {path.name for path in folder.glob("*.zst")} == {text.path.name for text in shipped.paths()}


def test_every_record_decodes_and_says_something(text: shipped.ShippedText) -> None:
    found = records(text)
    assert len(found) == COUNTS[text.name]
    assert all(record["text"].strip() == record["text"] != "" for record in found)
    assert len({record["text"] for record in found}) == len(found)


def test_every_source_is_in_notice_with_its_licence(text: shipped.ShippedText) -> None:
    section = next(part for part in re.split(r"-{40,}", NOTICE.read_text()) if text.path.name in part)
    assert text.licence.split(";")[0].split("-")[0] in section or "Creative Commons" in section
    assert " ".join(text.origin.split()[1:3]).strip(",") in section or "written for rootlm" in section


def test_nothing_lost_and_nobody_elses_mark(text: shipped.ShippedText) -> None:
    whole = "\n".join(record["text"] for record in records(text))
    assert "□" not in whole and "\ufffd" not in whole
    assert not re.search(r"gutenberg|\betext|copyright|http", whole, re.IGNORECASE)
    assert not re.search(r"[\ue000-\uf8ff\U00020000-\U0003ffff]", whole)


def test_poems_are_regular_and_simplified() -> None:
    poems = next(text for text in shipped.paths() if text.name == "poems")
    found = records(poems)
    couplet = re.compile(r"[\u4e00-\u9fff]{5}，[\u4e00-\u9fff]{5}。|[\u4e00-\u9fff]{7}，[\u4e00-\u9fff]{7}。")
    assert all(couplet.fullmatch(line) for record in found for line in record["text"].split("\n"))
    assert any(record["text"].startswith("床前明月光，疑是地上霜。\n举头望明月") for record in found)
    whole = "".join(record["text"] for record in found)
    assert not set("風東見無來長門時國馬鳥") & set(whole)


def test_the_package_stays_small() -> None:
    assert sum(text.path.stat().st_size for text in shipped.paths()) < 4_000_000


def test_the_first_example_has_an_answer() -> None:
    """`我爱中` is followed by 国 or 文 in our own reader; elsewhere it does not occur."""
    following = "".join(
        re.findall("我爱中(.)", "".join(r["text"] for text in shipped.paths() for r in records(text)))
    )
    assert following.count("国") > len(following) / 2
    assert "文" in following
