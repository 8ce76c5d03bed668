"""Parallel text: read from records and from aligned files, kept in pairs, split by what belongs together."""

import json
import random

import pytest

from rootlm.text.corpus import Corpus
from rootlm.text.prepare import prepare
from rootlm.text.raw.parallel import sides_of
from rootlm.text.settings import Prepare

CHINESE = "打开文件菜单单元格选择然后保存格式表工具设置对话框插入删除行列数据图表"
ENGLISH = "open the file menu cell choose then save format table tools options dialog insert delete row"


def texts(generator):
    words = generator.choices(ENGLISH.split(), k=generator.randint(6, 12))
    return "".join(generator.choices(CHINESE, k=18)) + "。", " ".join(words) + "."


def records(count=400, pages=40):
    generator = random.Random(4)
    found = []
    for number in range(count):
        zh, en = texts(generator)
        found.append({"zh": zh, "en": en, "page": f"page {number % pages}"})
    return found


def settings_of(given):
    return Prepare.model_validate({"workers": 1, **given})


def every(corpus):
    return {split: list(corpus.documents(split)) for split in corpus.splits}


@pytest.fixture
def pages(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in records()), encoding="utf-8")
    return file


def test_a_page_stays_in_one_split(pages, tmp_path):
    split = {"together": "page", "validation": 0.1, "test": 0.2, "min_documents": 0}
    given = {"sources": [{"path": str(pages)}], "read": {"pair": ["zh", "en"]}, "split": split}
    found = every(prepare(settings_of(given), tmp_path / "corpus"))
    where = {split: {document.meta["page"] for document in documents} for split, documents in found.items()}
    assert not where["train"] & where["test"]
    assert not where["train"] & where["validation"]
    assert not where["validation"] & where["test"]
    assert 0.1 < len(found["test"]) / 400 < 0.3
    apart = every(prepare(settings_of({**given, "split": {**split, "together": None}}), tmp_path / "apart"))
    assert {one.meta["page"] for one in apart["train"]} & {one.meta["page"] for one in apart["test"]}


def test_a_key_that_no_document_has_is_refused(pages, tmp_path):
    given = {
        "sources": [{"path": str(pages)}],
        "read": {"pair": ["zh", "en"]},
        "split": {"together": "chapter"},
    }
    with pytest.raises(ValueError, match=r"split\.together=chapter: no document has chapter in its meta"):
        prepare(settings_of(given), tmp_path / "corpus")


def test_pairs_come_from_records_tables_and_aligned_files_alike(tmp_path):
    pairs = [(one["zh"], one["en"]) for one in records(60)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"zh": zh, "en": en}) for zh, en in pairs))
    (tmp_path / "b.csv").write_text("en,zh\n" + "\n".join(f'"{en}","{zh}"' for zh, en in pairs))
    (tmp_path / "c.zh").write_text("\n".join(zh for zh, _ in pairs) + "\n")
    (tmp_path / "c.en").write_text("\n".join(en for _, en in pairs) + "\n")
    named = {"path": str(tmp_path / "c.zh"), "target": str(tmp_path / "c.en")}
    found = []
    for name, source in (
        ("a", {"path": str(tmp_path / "a.jsonl")}),
        ("b", {"path": str(tmp_path / "b.csv")}),
        ("c", named),
    ):
        read = {} if name == "c" else {"pair": ["zh", "en"]}
        corpus = prepare(settings_of({"sources": [source], "read": read}), tmp_path / name)
        documents = [document for documents in every(corpus).values() for document in documents]
        assert all(document.meta["pair"] == ["zh", "en"] for document in documents)
        found.append(sorted((sides_of(one)["zh"], sides_of(one)["en"]) for one in documents))
    assert found[0] == found[1] == found[2] == sorted(pairs)


def test_what_the_steps_leave_of_a_pair_is_dropped_with_its_reason(tmp_path):
    rows = records(60)
    rows[7]["en"], rows[9]["en"] = "word " * 3, "Line one\nand line two of it."
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in rows))
    given = {
        "sources": [{"path": str(file)}],
        "read": {"pair": ["zh", "en"]},
        "c4_lines": {"min_words": 0, "min_han": 0},
    }
    corpus = prepare(settings_of(given), tmp_path / "corpus")
    steps = {step["step"]: step for step in corpus.manifest["steps"]}
    assert steps["pair"]["dropped"]["no longer two lines of text"] >= 1
    documents = [document for documents in every(corpus).values() for document in documents]
    assert len(documents) + sum(steps["pair"]["dropped"].values()) == 60
    assert all(document.text.count("\n") == 1 for document in documents)
    assert any(sides_of(one)["en"] == "Line one and line two of it." for one in documents)


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([{"zh": "你好，世界。", "en": "  "}], ':1: "en" has no text; give both sides a text'),
        ([{"zh": "你好，世界。", "en": 3}], ':1: "en" is not a string; give both sides a text'),
        (
            [{"zh": "你好，世界。", "english": "a"}],
            ':1: no key "en"; found "english", "zh"; set read.pair=[SOURCE,TARGET]',
        ),
    ],
)
def test_half_a_pair_is_a_fault(tmp_path, rows, line):
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(one) for one in rows))
    given = {"sources": [{"path": str(file)}], "read": {"pair": ["zh", "en"]}}
    with pytest.raises(ValueError) as told:
        prepare(settings_of(given), tmp_path / "corpus")
    assert f"{file}{line}" in str(told.value)


@pytest.mark.parametrize(("longer", "shorter"), [("zh", "en"), ("en", "zh")])
def test_the_first_line_without_a_partner_is_named(tmp_path, longer, shorter):
    pairs = [(one["zh"], one["en"]) for one in records(30)]
    sides = {"zh": [zh for zh, _ in pairs], "en": [en for _, en in pairs]}
    sides[shorter] = sides[shorter][:21]
    for name, side in sides.items():
        (tmp_path / f"train.{name}").write_text("\n".join(side) + "\n")
    source = {"path": str(tmp_path / "train.zh"), "target": str(tmp_path / "train.en")}
    with pytest.raises(ValueError) as told:
        prepare(settings_of({"sources": [source]}), tmp_path / "corpus")
    assert f"train.{longer}:22: has no partner, " in str(told.value)
    assert f"train.{shorter} ends with line 21" in str(told.value)


def test_a_broken_line_takes_its_partner_with_it(tmp_path):
    pairs = [(one["zh"], one["en"]) for one in records(60)]
    lines = [zh.encode() for zh, _ in pairs]
    lines[20] = b"\xff\xfe broken"
    (tmp_path / "train.zh").write_bytes(b"\n".join(lines) + b"\n")
    (tmp_path / "train.en").write_text("\n".join(en for _, en in pairs) + "\n")
    source = {"path": str(tmp_path / "train.zh"), "target": str(tmp_path / "train.en")}
    given = {"sources": [source], "read": {"on_error": "skip", "encoding": "utf-8"}}
    corpus = prepare(settings_of(given), tmp_path / "corpus")
    found = {(sides_of(one)["zh"], sides_of(one)["en"]) for parts in every(corpus).values() for one in parts}
    assert found == set(pairs) - {pairs[20]}


def test_a_document_of_one_text_is_no_pair(tmp_path, corpus):
    document = next(Corpus.open(corpus).documents("train"))
    with pytest.raises(ValueError, match=r"is no pair of texts; .* read.pair"):
        sides_of(document)
