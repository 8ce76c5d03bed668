"""Contamination: passages of a test set are found through case, width and punctuation, and nothing else is."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rootlm.core.config import validate
from rootlm.shipped import paths
from rootlm.text.document import Document, Rule
from rootlm.text.steps.contamination import LABEL, Contamination, Index, _units

QUESTION = "What is the name of the river that flows through the old city of Prague, and where does it end?"
SHORT = "Who wrote the play Romeo and Juliet first?"
CHINESE = "下列哪一项不是光合作用所必需的条件？甲、阳光；乙、水；丙、氧气；丁、二氧化碳。"
COUPLET = "春眠不觉晓，处处闻啼鸟。夜来风雨声"


def written(folder: Path, texts: list[str], name: str = "exam.jsonl") -> str:
    (folder / name).write_text(
        "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    )
    return str(folder / name)


def rule_for(folder: Path, texts: list[str], **more: object) -> Rule:
    return validate(Contamination, {"files": [written(folder, texts)], **more}).build()


def shipped(name: str) -> list[str]:
    (path,) = (text.path for text in paths() if text.name == name)
    with path.open("rb") as stream:
        lines = zstandard.ZstdDecompressor().stream_reader(stream).read().splitlines()
    return [orjson.loads(line)["text"] for line in lines]


def inside(passage: str) -> str:
    return f"Some text before it, {passage} and some text after it.\n又及：这是另一句话。"


@pytest.mark.parametrize(
    "passage",
    [
        QUESTION,
        QUESTION.upper(),
        QUESTION.replace(",", " --").replace(" ", "\n"),
        " ".join(QUESTION.split()[3:16]),
        SHORT,
        CHINESE,
        CHINESE.replace("、", "").replace("？", " ").replace("；", "\n"),
        CHINESE[3:28],
        COUPLET,
    ],
)
def test_a_passage_is_found(tmp_path: Path, passage: str) -> None:
    rule = rule_for(tmp_path, [QUESTION, SHORT, CHINESE, COUPLET])
    assert rule(Document(inside(passage), "a:1")) == "holds passages of exam.jsonl"


@pytest.mark.parametrize(
    "text",
    [
        " ".join(QUESTION.split()[3:15]),
        QUESTION.replace("river", "stream").replace("old", "new"),
        SHORT[:38] + "?",
        CHINESE[:15],
        COUPLET[:9],
        "",
        "word",
    ],
)
def test_less_than_a_passage_is_not(tmp_path: Path, text: str) -> None:
    rule = rule_for(tmp_path, [QUESTION, SHORT, CHINESE, COUPLET])
    assert rule(Document(text, "a:1")) is None


def test_full_width_equals_half_width(tmp_path: Path) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isalnum() else c for c in QUESTION)
    assert rule_for(tmp_path, [wide])(Document(QUESTION, "a:1"))


def test_every_shipped_poem_is_found_and_no_other(tmp_path: Path) -> None:
    poems = [poem for poem in shipped("poems")[:4000] if len(poem) > 40]
    random.Random(0).shuffle(poems)
    exam, others = poems[:1000], poems[1000:]
    rule = rule_for(tmp_path, exam)
    assert all(rule(Document(f"读书笔记。{poem}写得真好。", "a:1")) for poem in exam)
    runs = {
        "".join(filter(str.isalpha, poem))[place : place + 20] for poem in exam for place in range(len(poem))
    }
    runs = {run for run in runs if len(run) == 20}
    for poem in others:
        plain = "".join(filter(str.isalpha, poem))
        assert (rule(Document(poem, "a:1")) is not None) == any(
            plain[place : place + 20] in runs for place in range(len(plain) - 19)
        )


@given(
    st.lists(st.sampled_from("abcde"), max_size=60),
    st.lists(st.sampled_from("abcde"), min_size=4, max_size=30),
)
@settings(max_examples=100, deadline=None)
def test_equals_comparing_every_run(
    tmp_path_factory: pytest.TempPathFactory, text: list[str], item: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("exam")
    rule = rule_for(folder, [" ".join(item)], words=4, min_words=4)
    runs = {tuple(item[place : place + 4]) for place in range(len(item) - 3)}
    shared = any(tuple(text[place : place + 4]) in runs for place in range(len(text) - 3))
    assert (rule(Document(", ".join(text), "a:1")) is not None) == shared


def test_matches_can_be_let_pass(tmp_path: Path) -> None:
    once = " ".join(QUESTION.split()[:13])
    assert rule_for(tmp_path, [QUESTION], max_matches=1)(Document(once, "a:1")) is None
    assert rule_for(tmp_path, [QUESTION], max_matches=1)(Document(QUESTION, "a:1"))


def test_a_document_can_be_labelled_instead(tmp_path: Path) -> None:
    label = Contamination(files=(written(tmp_path, [QUESTION]),)).label()
    assert label(Document(inside(QUESTION), "a:1")) == {LABEL: "exam.jsonl"}
    assert label(Document("something else", "a:2")) == {}


def test_any_kind_of_file_is_read_and_the_right_one_named(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(f'question,answer\n"{QUESTION}",42\n')
    (tmp_path / "two.txt.gz").write_bytes(gzip.compress(CHINESE.encode()))
    rule = validate(
        Contamination,
        {"files": [str(tmp_path)], "read": {"text_key": "question", "max_document_characters": None}},
    ).build()
    assert rule(Document(inside(QUESTION), "a:1")) == "holds passages of one.csv"
    assert rule(Document(inside(CHINESE), "a:1")) == "holds passages of two.txt.gz"


def test_every_key_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "exam.jsonl").write_text(json.dumps({"question": QUESTION, "answer": CHINESE}))
    rule = validate(
        Contamination, {"files": [str(tmp_path / "exam.jsonl")], "text_keys": ["question", "answer"]}
    ).build()
    assert rule(Document(QUESTION, "a:1"))
    assert rule(Document(CHINESE, "a:1"))


def test_the_index_is_small(tmp_path: Path) -> None:
    settings_ = Contamination(files=(written(tmp_path, shipped("shakespeare")[:500]),))
    index = Index(settings_)
    held = index._keys.nbytes + index._owners.nbytes + index._sieve.nbytes
    assert len(index) > 50_000
    assert held < 15 * len(index)
    assert np.all(np.diff(index._keys.astype(np.float64)) >= 0)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_punctuation_and_case_never_count(text: str) -> None:
    spaced = "".join(f"{c}、" if "一" <= c <= "鿿" else c for c in text)
    assert [hashes.tolist() for hashes in _units(spaced)] == [hashes.tolist() for hashes in _units(text)]
    lowered = "".join(c.lower() if c.isascii() else c for c in text)
    assert [hashes.tolist() for hashes in _units(lowered)] == [hashes.tolist() for hashes in _units(text)]


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"none\.jsonl: no such file or folder; name a file, a folder or a glob"
    ):
        Contamination(files=(str(tmp_path / "none.jsonl"),)).build()
    with pytest.raises(
        ValueError, match=r"exam\.jsonl: no item has 8 words or 12 Han characters; set min_words"
    ):
        rule_for(tmp_path, ["too short"])
    (tmp_path / "broken.jsonl").write_text("{\n")
    with pytest.raises(ValueError, match=r"broken\.jsonl:1: not valid JSON"):
        Contamination(files=(str(tmp_path / "broken.jsonl"),)).build()
    (tmp_path / "other.jsonl").write_text('{"question": "x"}\n')
    with pytest.raises(ValueError, match=r'other\.jsonl:1: no key "text"; found "question"'):
        Contamination(files=(str(tmp_path / "other.jsonl"),)).build()
