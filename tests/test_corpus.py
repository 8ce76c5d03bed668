"""Laws of a corpus: nothing is lost unseen, no cluster in two splits, the same command, the same bytes."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rootlm.cli import data_prepare, data_show
from rootlm.core.config import validate
from rootlm.core.files import locked
from rootlm.text import corpus_refusals
from rootlm.text import prepare as prepare_module
from rootlm.text.corpus import Corpus
from rootlm.text.document import Document
from rootlm.text.pipeline import plan, work
from rootlm.text.pipeline.pool import Local
from rootlm.text.prepare import prepare
from rootlm.text.settings import Prepare
from rootlm.text.tally import EXAMPLES, Tally

HAN = "春江潮水連海平上明月共生灩隨波千萬里何處無流宛轉繞芳甸照花林皆似霰空裏霜不覺飛汀白沙看見天一色纖塵"
HAN += "皎孤輪人初年代窮已祇相待誰但長送雲去悠青楓浦勝愁家今夜扁舟子思樓可憐徘徊應離妝鏡臺玉戶簾中卷擣衣砧"
WORDS = re.findall(
    r"\w+", "the river and the moon who first saw its light and when did it first shine on people years"
)


def poem(generator: random.Random) -> str:
    lines = ["".join(generator.choices(HAN, k=5)) for _ in range(8)]
    return "，".join(lines[:4]) + "。\n" + "，".join(lines[4:]) + "。"


def essay(generator: random.Random) -> str:
    return ". ".join(" ".join(generator.choices(WORDS, k=12)).capitalize() for _ in range(12)) + "."


def variant(text: str, generator: random.Random) -> str:
    place = generator.randrange(len(text))
    return text[:place] + "月" + text[place + 1 :]


def material(folder: Path, seed: int = 0, poems: int = 120) -> dict[str, Any]:
    """Write three sources with copies, near-copies and rubbish in them; return settings that name them."""
    generator = random.Random(seed)
    originals = [poem(generator) for _ in range(poems)]
    rows = [
        *originals,
        *originals[:9],
        *(variant(text, generator) for text in originals[9:30]),
        "短",
        "1 2 3 4 5 6 7 8 9 0",
    ]
    generator.shuffle(rows)
    lines = [
        json.dumps({"content": text, "title": str(number)}, ensure_ascii=False)
        for number, text in enumerate(rows)
    ]
    (folder / "poems.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    (folder / "essays").mkdir(exist_ok=True)
    for number in range(40):
        (folder / "essays" / f"{number:02}.txt").write_text(essay(generator))
    (folder / "old.txt").write_bytes("\n\n".join(poem(generator) for _ in range(30)).encode("gb18030"))
    return {
        "sources": [
            {
                "path": str(folder / "poems.jsonl.gz"),
                "licence": "MIT",
                "origin": "tests",
                "read": {"text_key": "content"},
            },
            {"path": str(folder / "essays")},
            {"path": str(folder / "old.txt"), "name": "ancient", "read": {"documents": "paragraph"}},
        ]
    }


def settings_of(given: dict[str, Any], **more: Any) -> Prepare:
    return validate(Prepare, {**given, **more})


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def given_text(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return material(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def corpus(given_text: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepare(settings_of(given_text), tmp_path_factory.mktemp("made") / "corpus")


def test_kept_and_dropped_make_what_was_read(corpus: Corpus) -> None:
    steps = corpus.manifest["steps"]
    assert [step["step"] for step in steps] == [
        "read",
        "repair",
        "normalise",
        "language",
        "quality",
        "duplicates",
    ]
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        assert step["read"] == step["kept"] + sum(step["dropped"].values())
        assert all(step["dropped"])
        assert following is None or following["read"] == step["kept"]
    assert steps[-1]["kept"] == sum(corpus.counts(split).documents for split in corpus.splits)
    assert steps[-1]["dropped"]["exact copy"] == 9
    assert steps[-1]["dropped"]["near-duplicate"] >= 19
    assert sum(source["read"] for source in corpus.manifest["reading"]) == steps[0]["read"]


def test_counts_are_those_of_the_documents(corpus: Corpus) -> None:
    assert corpus.splits == ("train", "validation", "test")
    for split in corpus.splits:
        documents = list(corpus.documents(split))
        texts = [document.text for document in documents]
        expected = (len(texts), sum(len(text.encode()) for text in texts), sum(map(len, texts)))
        assert corpus.counts(split) == expected
        entry = corpus.manifest["splits"][split]
        for key, field in (("languages", "language"), ("sources", "collection")):
            names = [document.meta[field] for document in documents]
            assert {name: group["documents"] for name, group in entry[key].items()} == {
                name: names.count(name) for name in names
            }


def test_every_source_is_in_every_split_with_its_licence(corpus: Corpus) -> None:
    for split in corpus.splits:
        assert set(corpus.manifest["splits"][split]["sources"]) == {"poems", "essays", "ancient"}
    assert [source["licence"] for source in corpus.manifest["sources"]] == ["MIT", "unknown", "unknown"]
    assert corpus.manifest["reading"][2]["encodings"] == {"gb18030": 1}


def test_order_is_kept(corpus: Corpus) -> None:
    for split in corpus.splits:
        lines = [
            int(d.source.rpartition(":")[2])
            for d in corpus.documents(split)
            if d.meta["collection"] == "poems"
        ]
        assert lines == sorted(lines)
        collections = [document.meta["collection"] for document in corpus.documents(split)]
        assert list(dict.fromkeys(collections)) == ["poems", "essays", "ancient"]


def test_other_keys_are_kept(corpus: Corpus) -> None:
    document = next(corpus.documents("train"))
    assert set(document.meta) == {"title", "language", "collection"}


@pytest.mark.parametrize(
    "duplicates",
    [{"drop_near": False}, {"drop_near": False, "drop_exact": False}, {"drop_exact": False}],
    ids=["near kept", "all kept", "exact kept"],
)
def test_no_cluster_is_in_two_splits_even_when_duplicates_are_kept(
    given_text: dict[str, Any], tmp_path: Path, duplicates: dict[str, Any]
) -> None:
    more = {"duplicates": duplicates, "split": {"validation": 0.2, "test": 0.2}}
    made = prepare(settings_of(given_text, **more), tmp_path / "corpus")
    texts = {split: [d.text for d in made.documents(split)] for split in made.splits}
    for split, others in (("validation", "train"), ("test", "train"), ("test", "validation")):
        for text in texts[split]:
            near = [
                other for other in texts[others] if len(other) == len(text) and differing(text, other) <= 1
            ]
            assert not near


def differing(text: str, other: str) -> int:
    return sum(one != two for one, two in zip(text, other, strict=True))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_command_gives_the_same_bytes_with_any_number_of_workers(
    corpus: Corpus, given_text: dict[str, Any], tmp_path: Path, workers: int
) -> None:
    again = prepare(settings_of(given_text, workers=workers), tmp_path / "again")
    assert contents(again.folder) == contents(corpus.folder)
    assert again.fingerprint == corpus.fingerprint


def test_lines_and_passages_of_other_documents_are_taken_out_and_told(tmp_path: Path) -> None:
    generator = random.Random(11)
    banner, passage = "Subscribe to our letter and never miss a single story again.", essay(generator)
    rows = [f"{banner}\n{essay(generator)}" for _ in range(40)] + [poem(generator) for _ in range(40)]
    rows[7] += " " + passage
    rows[50] += "\n" + passage
    rows.append(banner)
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"text": row}, ensure_ascii=False) for row in rows)
    )
    given = {"sources": [{"path": str(tmp_path / "a.jsonl")}], "repeats": {"lines": {}, "substrings": {}}}
    corpus = prepare(settings_of(given), tmp_path / "corpus")
    texts = [document.text for split in corpus.splits for document in corpus.documents(split)]
    assert sum(text.count(banner) for text in texts) == 1
    assert sum(text.count(passage) for text in texts) == 1
    steps = {step["step"]: step for step in corpus.manifest["steps"]}
    assert steps["repeated_lines"]["changed"] == 40
    assert sum(steps["repeated_lines"]["dropped"].values()) == 1
    assert steps["repeated_substrings"]["changed"] >= 1
    assert steps["duplicates"]["kept"] == len(texts)


def test_strata_are_held_out_alike(tmp_path: Path) -> None:
    generator = random.Random(5)
    rows = [
        {"text": poem(generator), "label": "rare" if number % 10 == 0 else "common"} for number in range(600)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    given = {
        "sources": [{"path": str(tmp_path / "a.jsonl")}],
        "split": {"stratify": "label", "validation": 0.1, "test": 0.2, "min_documents": 0},
    }
    corpus = prepare(settings_of(given), tmp_path / "corpus")
    assert corpus.manifest["steps"][-1]["kept"] == 600
    for split, share in (("validation", 0.1), ("test", 0.2)):
        found = [document.meta["label"] for document in corpus.documents(split)]
        assert (found.count("rare"), found.count("common")) == (60 * share, 540 * share)


@pytest.mark.parametrize("rate", [0.25, 2.5])
def test_a_source_is_taken_as_often_as_it_says(tmp_path: Path, rate: float) -> None:
    generator = random.Random(6)
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("\n\n".join(poem(generator) for _ in range(400)))
    sources = [{"path": str(tmp_path / "a.txt"), "sample": rate}, {"path": str(tmp_path / "b.txt")}]
    given = {"sources": sources, "read": {"documents": "paragraph"}, "shard_bytes": 20_000}
    corpus = prepare(settings_of(given), tmp_path / "corpus")
    texts = [document.text for document in corpus.documents("train") if document.meta["collection"] == "a"]
    counted = corpus.manifest["splits"]["train"]["sources"]
    assert counted["a"]["documents"] == len(texts) == pytest.approx(rate * 360, rel=0.2)
    assert 340 < counted["b"]["documents"] <= 380
    times = Counter(Counter(texts).values())
    assert set(times) == ({1} if rate < 1 else {2, 3})
    first = [document.text for document in corpus.documents("train")][:300]
    assert len(set(first)) == 300
    for split in ("validation", "test"):
        held = [document.text for document in corpus.documents(split)]
        assert len(held) == len(set(held)) >= 40
        assert not set(held) & set(texts)
    left = corpus.manifest["steps"][-1]
    assert left["step"] == "sample"
    assert left["kept"] == len(set(texts)) + counted["b"]["documents"] + sum(
        corpus.counts(split).documents for split in ("validation", "test")
    )


def test_given_splits_are_kept(tmp_path: Path) -> None:
    generator = random.Random(8)
    rows = {name: [poem(generator) for _ in range(30)] for name in ("train", "validation", "test", "drawn")}
    rows["test"].append(rows["train"][3])
    for name, texts in rows.items():
        (tmp_path / f"{name}.txt").write_text("\n\n".join(texts))
    sources = [
        {"path": str(tmp_path / f"{name}.txt"), **({} if name == "drawn" else {"split": name})}
        for name in rows
    ]
    given = {"sources": sources, "read": {"documents": "paragraph"}, "split": {"min_documents": 1}}
    corpus = prepare(settings_of(given), tmp_path / "corpus")
    for split in ("train", "validation", "test"):
        texts = {document.text for document in corpus.documents(split)}
        expected = set(rows[split]) - ({rows["train"][3]} if split == "test" else set())
        assert texts - set(rows["drawn"]) == expected
        assert texts & set(rows["drawn"])
    assert corpus.manifest["steps"][-1]["dropped"] == {"exact copy": 1}
    assert corpus.manifest["leaks"] == 0
    kept = {**given, "duplicates": {"drop_exact": False, "drop_near": False}}
    said: list[str] = []
    leaking = prepare(settings_of(kept), tmp_path / "leaking", said.append)
    assert rows["train"][3] in {document.text for document in leaking.documents("test")}
    assert leaking.manifest["leaks"] == 1
    assert any("leak check: 1 documents" in line and "drop_exact=true" in line for line in said)


def test_more_documents_than_memory_holds_are_refused_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(poem(random.Random(number)) for number in range(40)))
    given = {
        "sources": [{"path": str(tmp_path / "a.txt")}],
        "read": {"documents": "paragraph"},
        "memory_megabytes": 300,
    }
    monkeypatch.setattr(corpus_refusals, "_GROUPED_BYTES", 8_000_000)
    with pytest.raises(
        ValueError, match=r"40 documents cannot be grouped .* again with memory_megabytes=320"
    ):
        prepare(settings_of(given), tmp_path / "corpus")
    assert list((tmp_path / ".corpus.work").glob("leaves/*"))
    assert (
        prepare(settings_of({**given, "memory_megabytes": 320}), tmp_path / "corpus")
        .counts("train")
        .documents
    )


def test_how_text_is_cut_is_not_said_of_files_without_any(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": poem(random.Random(number))}) + "\n" for number in range(30))
    (tmp_path / "a.jsonl").write_text(rows)
    (tmp_path / "a.txt").write_text("\n".join(poem(random.Random(number)) for number in range(30, 60)))
    records, plain = ({"path": str(tmp_path / name)} for name in ("a.jsonl", "a.txt"))
    by_line = {"documents": "line"}
    for sources in ([records], [plain, {**records, "read": by_line}]):
        with pytest.raises(ValueError, match=r"a\.jsonl: read\.documents=line says how \.txt is cut"):
            prepare(settings_of({"sources": sources, "read": by_line}), tmp_path / "refused")
    both = prepare(settings_of({"sources": [records, plain], "read": by_line}), tmp_path / "both")
    assert both.counts("train").documents > 30


def test_given_splits_need_no_drawn_ones_but_something_to_train_on(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(poem(random.Random(9)))
    for split in ("train", "test"):
        given = settings_of({"sources": [{"path": str(tmp_path / "a.txt"), "split": split}]})
        if split == "train":
            assert prepare(given, tmp_path / split).counts("train").documents == 1
        else:
            with pytest.raises(ValueError, match=r"sources\.split leave no training document"):
                prepare(given, tmp_path / split)


@pytest.mark.parametrize("workers", [1, 2])
def test_only_training_documents_are_augmented_and_every_copy_is_counted(
    tmp_path: Path, workers: int
) -> None:
    generator = random.Random(7)
    rows = [poem(generator) if number % 2 else essay(generator) for number in range(300)]
    (tmp_path / "a.jsonl").write_text(
        "\n".join(json.dumps({"text": row}, ensure_ascii=False) for row in rows)
    )
    given = {
        "sources": [{"path": str(tmp_path / "a.jsonl"), "sample": 2}],
        "augment": {"kinds": [{"kind": "dropout"}, {"kind": "swap"}], "copies": 2},
        "split": {"validation": 0.1, "test": 0.1},
        "shard_bytes": 30_000,
        "workers": workers,
    }
    corpus = prepare(settings_of(given), tmp_path / f"corpus-{workers}")
    held: set[str] = set()
    for split in ("validation", "test"):
        documents = list(corpus.documents(split))
        assert not any("augmented_from" in document.meta for document in documents)
        held |= {document.text for document in documents}
    train = list(corpus.documents("train"))
    copies = [document for document in train if "augmented_from" in document.meta]
    originals = {document.source: document.text for document in train if document not in copies}
    assert len(train) == 2 * len(originals) + len(copies)
    assert len(copies) > 1.8 * len(originals)
    for copy in copies:
        assert copy.text not in held
        assert copy.text != originals[copy.meta["augmented_from"]]
    assert train[-len(copies) :] == copies
    for split in corpus.splits:
        documents = list(corpus.documents(split))
        assert corpus.counts(split).documents == len(documents)
        assert corpus.counts(split).bytes == sum(len(document.text.encode()) for document in documents)
    assert corpus.manifest["augmented"]["documents"] == len(copies)
    found = contents(corpus.folder)
    if workers == 2:
        once = prepare(settings_of({**given, "workers": 1}), tmp_path / "again")
        assert contents(once.folder) == found


def test_personal_data_is_replaced_in_text_and_meta_and_counted(tmp_path: Path) -> None:
    generator = random.Random(8)
    rows = [{"text": poem(generator), "author": "nobody"} for _ in range(60)]
    rows[3] = {"text": poem(generator) + "写信给li.ming@foo.cn，电话13800138000。", "author": "wang@bar.org"}
    rows[5] = {"text": essay(generator) + " Mail bob@acme.net today.", "author": "nobody"}
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    given = {"sources": [{"path": str(tmp_path / "a.jsonl")}], "redact": {}}
    corpus = prepare(settings_of(given), tmp_path / "corpus")
    assert corpus.manifest["personal_data"] == {"email": {"en": 1, "zh": 2}, "phone": {"zh": 1}}
    held = b"".join(zstandard.decompress(file.read_bytes()) for file in corpus.folder.glob("*.zst"))
    held += (corpus.folder / "manifest.json").read_bytes()
    for value in ("li.ming", "13800138000", "wang@bar", "bob@"):
        assert value.encode() not in held, value
    assert b"[EMAIL]" in held


def test_ray_writes_the_same_bytes_and_says_the_same_of_a_fault(
    given_text: dict[str, Any], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        num_cpus=2,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        include_dashboard=False,
        configure_logging=False,
    )
    prepare(settings_of(given_text), tmp_path / "corpus", engine="ray")
    assert contents(tmp_path / "corpus") == contents(corpus.folder)
    (tmp_path / "broken.jsonl").write_text('{"text": "a good line of text"}\n{"text": \n')
    broken = {"sources": [{"path": str(tmp_path / "broken.jsonl")}]}
    with pytest.raises(ValueError, match=r"^\S*broken\.jsonl:2: not valid JSON .*; mend the line, or set"):
        prepare(settings_of(broken), tmp_path / "other", engine="ray")
    assert ray.is_initialized()
    ray.shutdown()


@given(seed=st.integers(0, 1000))
@settings(max_examples=5, deadline=None)
def test_preparing_a_corpus_again_changes_no_text(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("twice")
    no_split = {"split": {"validation": 0, "test": 0}}
    once = prepare(settings_of(material(folder, seed, poems=40), **no_split), folder / "once")
    twice = prepare(
        settings_of({"sources": [{"path": str(folder / "once" / "train-*.zst")}]}, **no_split),
        folder / "twice",
    )
    assert [d.text for d in twice.documents("train")] == [d.text for d in once.documents("train")]


def test_shards_are_bounded_and_joined_in_order(
    given_text: dict[str, Any], corpus: Corpus, tmp_path: Path
) -> None:
    small = prepare(settings_of(given_text, shard_bytes=5000), tmp_path / "small")
    shards = small.manifest["splits"]["train"]["shards"]
    assert len(shards) > 3
    assert all(shard["bytes"] <= 5000 for shard in shards)
    assert list(small.documents("train")) == list(corpus.documents("train"))
    file = tmp_path / "small" / shards[0]["name"]
    raw = zstandard.ZstdDecompressor().stream_reader(file.open("rb")).read()
    assert len(raw) == shards[0]["bytes"]
    assert raw.count(b"\n") == shards[0]["documents"]


def test_samples_are_drawn_by_seed(corpus: Corpus) -> None:
    first, again, other = (corpus.sample("train", 5, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len({document.source for document in first}) == 5
    assert len(corpus.sample("test", 10_000)) == corpus.counts("test").documents


def test_dropped_documents_are_shown_with_reason_and_original(corpus: Corpus) -> None:
    dropped = corpus.dropped()
    reasons = {(example["step"], example["reason"]) for example in dropped}
    assert ("quality", "fewer than 10 characters") in reasons
    assert ("quality", "less than 50% letters") in reasons
    originals = {
        document.source: document.text for split in corpus.splits for document in corpus.documents(split)
    }
    copies = [example for example in dropped if example["reason"] == "exact copy"]
    assert len(copies) == 9
    for example in copies:
        assert originals[example["duplicate_of"]] == example["text"]


@pytest.mark.parametrize("name", ["lines.txt", "rows.jsonl", "whole.txt", "table.csv", "packed.jsonl.gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16"])
def test_large_files_give_the_same_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, encoding: str
) -> None:
    generator = random.Random(3)
    rows = [poem(generator).replace("\n", "") + str(number) for number in range(300)]
    if "jsonl" in name:
        rows = [json.dumps({"text": row}, ensure_ascii=False) for row in rows]
    if "csv" in name:
        rows = ["text", *rows]
    if name == "whole.txt":
        rows = [row + "\n" for row in rows]
    raw = "\n".join(rows).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(raw, mtime=0) if name.endswith(".gz") else raw)
    reading = {"documents": "line" if name == "lines.txt" else "file", "max_document_characters": 500}
    given = {"sources": [{"path": str(tmp_path / name)}], "read": reading, "shard_bytes": 20_000}
    said: dict[str, list[str]] = {"small": [], "whole": []}
    prepare(settings_of(given), tmp_path / "whole", said["whole"].append)
    for module in (plan, work, prepare_module):
        monkeypatch.setattr(module, "PIECE_BYTES", 2_000)
    prepare(settings_of(given), tmp_path / "small", said["small"].append)
    whole, small = (Corpus.open(tmp_path / folder) for folder in ("whole", "small"))
    for split in ("train", "validation", "test"):
        assert list(whole.documents(split)) == list(small.documents(split))
    for key in ("steps", "reading"):
        assert whole.manifest[key] == small.manifest[key]
    assert whole.dropped() == small.dropped()
    assert sum("not UTF-8" in line for line in said["small"]) == (encoding != "utf-8")


@pytest.mark.parametrize("workers", [1, 3])
def test_parts_come_back_in_order(workers: int) -> None:
    with Local(workers) as engine:
        for _ in range(2):
            assert list(engine.run(abs, range(-40, 0))) == list(range(40, 0, -1))


def test_a_worker_that_is_killed_is_reported() -> None:
    with pytest.raises(ValueError, match="a worker process ended early; set workers=1"), Local(2) as engine:
        list(engine.run(os._exit, [3]))


def test_workers_end_when_their_parent_is_killed() -> None:
    program = (
        "import multiprocessing, time; from rootlm.text.pipeline.pool import Local;"
        "results = Local(2).run(time.sleep, [0, 90, 90]); next(results);"
        "print(*(child.pid for child in multiprocessing.active_children()), flush=True); time.sleep(90)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(word)) for word in parent.stdout.readline().split()]
        parent.kill()
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_sampled_drops_do_not_depend_on_the_order_of_the_parts() -> None:
    documents = [Document(f"text {number}", f"a:{number}") for number in range(200)]
    examples = []
    for step in (1, -1, 7):
        whole = Tally()
        for start in range(7) if step == 7 else [0]:
            part = Tally()
            for document in documents[start::step] if step > 0 else documents[::-1]:
                part.drop(document, "quality", "because")
            whole.add(part)
        examples.append(whole.examples())
        assert whole.dropped["quality", "because"] == 200
    assert examples[0] == examples[1] == examples[2]
    assert len(examples[0]) == EXAMPLES


class TestRunningAgain:
    def test_the_same_command_does_nothing(self, given_text: dict[str, Any], tmp_path: Path) -> None:
        made = prepare(settings_of(given_text), tmp_path / "corpus")
        before = {name: (tmp_path / "corpus" / name).stat().st_mtime_ns for name in contents(made.folder)}
        said: list[str] = []
        again = prepare(settings_of(given_text, workers=2), tmp_path / "corpus", said.append)
        assert again.fingerprint == made.fingerprint
        assert "already prepared" in said[-1]
        assert {
            name: (tmp_path / "corpus" / name).stat().st_mtime_ns for name in contents(made.folder)
        } == before

    def test_other_settings_or_text_are_refused_unless_asked(self, tmp_path: Path) -> None:
        text = material(tmp_path)
        prepare(settings_of(text), tmp_path / "corpus")
        other = settings_of(text, quality={"min_characters": 11})
        with pytest.raises(
            ValueError, match=r"made from other settings \(quality\.min_characters\); set overwrite=true"
        ):
            prepare(other, tmp_path / "corpus")
        assert (
            prepare(other, tmp_path / "corpus", overwrite=True).manifest["settings"]["quality"][
                "min_characters"
            ]
            == 11
        )
        (tmp_path / "essays" / "00.txt").write_text("A new essay about something else entirely.")
        with pytest.raises(ValueError, match="made from other text; set overwrite=true"):
            prepare(other, tmp_path / "corpus")

    def test_a_folder_that_is_no_corpus_is_never_replaced(
        self, given_text: dict[str, Any], tmp_path: Path
    ) -> None:
        (tmp_path / "thesis.txt").write_text("irreplaceable")
        with pytest.raises(ValueError, match="exists and is no corpus; choose another folder"):
            prepare(settings_of(given_text), tmp_path, overwrite=True)
        assert (tmp_path / "thesis.txt").read_text() == "irreplaceable"

    def test_two_processes_do_not_write_one_folder(self, given_text: dict[str, Any], tmp_path: Path) -> None:
        with locked(tmp_path / "corpus"), pytest.raises(ValueError, match="another process is writing here"):
            prepare(settings_of(given_text), tmp_path / "corpus")

    def test_a_failure_leaves_only_what_was_finished_and_clears_what_was_left(
        self, given_text: dict[str, Any], tmp_path: Path
    ) -> None:
        left = tmp_path / ".corpus.123.partial"
        left.mkdir()
        with pytest.raises(
            ValueError, match="nothing is left of 222 documents; quality: fewer than 9000 characters"
        ):
            prepare(settings_of(given_text, quality={"min_characters": 9000}), tmp_path / "corpus")
        assert [file.name for file in tmp_path.iterdir()] == [".corpus.work"]
        prepare(settings_of(given_text), tmp_path / "corpus")
        assert [file.name for file in tmp_path.iterdir()] == ["corpus"]

    @pytest.mark.parametrize("after", [0, 1, 2])
    def test_it_goes_on_from_the_pieces_that_were_finished(
        self,
        given_text: dict[str, Any],
        corpus: Corpus,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        after: int,
    ) -> None:
        treated: list[str] = []
        write = work.write_leaf

        def counted(folder: Path, *given: Any) -> None:
            if len(treated) == after:
                raise KeyboardInterrupt
            treated.append(folder.name)
            write(folder, *given)

        monkeypatch.setattr(work, "write_leaf", counted)
        with pytest.raises(KeyboardInterrupt):
            prepare(settings_of(given_text), tmp_path / "corpus")
        assert not (tmp_path / "corpus").exists()
        after = 100
        said: list[str] = []
        prepare(settings_of(given_text), tmp_path / "corpus", said.append)
        assert len(treated) == len(set(treated)) == 3
        assert contents(tmp_path / "corpus") == contents(corpus.folder)


class TestWhatAPersonMightDo:
    """Each of these once lost, mixed or miscounted text without a word."""

    def given(self, folder: Path, name: str = "a.jsonl", count: int = 80) -> Path:
        generator = random.Random(name)
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            "\n".join(json.dumps({"text": poem(generator)}, ensure_ascii=False) for _ in range(count))
        )
        return file

    def test_a_name_that_begins_like_another_is_left_alone(self, tmp_path: Path) -> None:
        other = tmp_path / ".v1.1.8950.partial"
        own = tmp_path / ".v1.77.partial"
        for folder in (other, own):
            folder.mkdir()
        prepare(settings_of({"sources": [{"path": str(self.given(tmp_path))}]}), tmp_path / "v1")
        assert other.exists()
        assert not own.exists()

    def test_another_key_of_pseudonyms_is_another_corpus(self, tmp_path: Path) -> None:
        file = self.given(tmp_path)
        redact = {"replacement": {"kind": "pseudonyms", "key_file": str(tmp_path / "key")}}
        given = {"sources": [{"path": str(file)}], "redact": redact}
        (tmp_path / "key").write_text("a" * 20)
        prepare(settings_of(given), tmp_path / "corpus")
        (tmp_path / "key").write_text("b" * 20)
        with pytest.raises(ValueError, match=r"made from other settings \(redaction_key\)"):
            prepare(settings_of(given), tmp_path / "corpus")
        assert b"aaaa" not in (tmp_path / "corpus" / "manifest.json").read_bytes()

    @pytest.mark.parametrize("change", ["cut", "gone"])
    def test_a_file_that_changes_while_it_is_read_is_an_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
    ) -> None:
        files = [self.given(tmp_path, f"{name}.jsonl") for name in "ab"]
        write = work.write_leaf

        def then_change(*given: Any) -> None:
            write(*given)
            if change == "gone":
                files[1].unlink(missing_ok=True)
            elif files[1].stat().st_size > 100:
                os.truncate(files[1], 100)

        monkeypatch.setattr(work, "write_leaf", then_change)
        given = {"sources": [{"path": str(file)} for file in files]}
        with pytest.raises(
            ValueError, match=r"b\.jsonl: (changed|went away) while it was read; run the command again"
        ):
            prepare(settings_of(given), tmp_path / "corpus")

    def test_a_corpus_is_no_source_and_the_own_output_is_not_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        self.given(tmp_path)
        self.given(tmp_path, ".hidden/b.jsonl")
        prepare(settings_of({"sources": [{"path": "."}]}), Path("../") / tmp_path.name / "c")
        for path in ("**/*.jsonl*", "."):
            first = prepare(settings_of({"sources": [{"path": path}]}), Path("c"), overwrite=True)
            again = prepare(settings_of({"sources": [{"path": path}]}), Path("../") / tmp_path.name / "c")
            assert first.fingerprint == again.fingerprint
            assert again.manifest["sources"][0]["files"] == 1
        for out in ("c", "d"):
            with pytest.raises(ValueError, match=r"c: is (a corpus already|where the corpus goes)"):
                prepare(settings_of({"sources": [{"path": "c"}]}), Path(out), overwrite=True)

    def test_names_that_no_one_can_read_and_names_that_are_alike(self, tmp_path: Path) -> None:
        file = self.given(tmp_path, "x/a.jsonl")
        odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd/a\xff b.jsonl"))
        odd.parent.mkdir()
        odd.write_bytes(self.given(tmp_path, "y/a.jsonl").read_bytes())
        other = self.given(tmp_path, "z/a.jsonl")
        sources = [
            {"path": str(file)},
            {"path": str(other)},
            {"path": str(self.given(tmp_path, "w.jsonl")), "name": "a-2"},
        ]
        corpus = prepare(settings_of({"sources": sources}), tmp_path / "corpus")
        names = [source["name"] for source in corpus.manifest["sources"]]
        assert names == ["a", "a-3", "a-2"]
        assert [entry["read"] for entry in corpus.manifest["reading"]] == [80, 80, 80]
        corpus = prepare(settings_of({"sources": [{"path": str(odd.parent)}]}), tmp_path / "corpus of odd")
        assert "a\\xff b.jsonl:" in next(corpus.documents("train")).source

    def test_a_label_that_no_document_has_is_an_error(self, tmp_path: Path) -> None:
        given = {"sources": [{"path": str(self.given(tmp_path))}], "split": {"stratify": "lable"}}
        with pytest.raises(ValueError, match=r"split\.stratify=lable: no document has lable in its meta"):
            prepare(settings_of(given), tmp_path / "corpus")

    def test_a_source_that_says_how_to_read_changes_only_that(self, tmp_path: Path) -> None:
        file = self.given(tmp_path)
        file.write_text(file.read_text().replace('"text"', '"content"') + "\n{broken")
        sources = [{"path": str(file), "read": {"text_key": "content"}}]
        given = {"sources": sources, "read": {"on_error": "skip", "max_document_characters": 500}}
        corpus = prepare(settings_of(given), tmp_path / "corpus")
        assert corpus.manifest["steps"][0]["dropped"] == {"broken JSON": 1}

    def test_a_corpus_that_is_there_needs_nothing_beside_it(self, tmp_path: Path) -> None:
        given = settings_of({"sources": [{"path": str(self.given(tmp_path))}]})
        prepare(given, tmp_path / "corpus")
        (tmp_path / ".corpus.work").mkdir()
        prepare(given, tmp_path / "corpus")
        assert not (tmp_path / ".corpus.work").exists()
        assert not (tmp_path / "corpus" / ".lock").exists()

    def test_a_corpus_set_aside_by_a_killed_replacement_comes_back(self, tmp_path: Path) -> None:
        given = settings_of({"sources": [{"path": str(self.given(tmp_path))}]})
        made = prepare(given, tmp_path / "corpus")
        (tmp_path / "corpus").rename(tmp_path / ".corpus.123.old")
        said: list[str] = []
        again = prepare(given, tmp_path / "corpus", said.append)
        assert again.fingerprint == made.fingerprint
        assert any("already prepared" in line for line in said)
        assert not (tmp_path / ".corpus.123.old").exists()

    def test_names_are_shown_as_they_stand(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        sources = [{"path": str(self.given(tmp_path)), "name": "news [/draft]", "licence": "[see file] MIT"}]
        corpus = prepare(settings_of({"sources": sources}), tmp_path / "o[b]x")
        data_show.run([str(corpus.folder)])
        said = capsys.readouterr().out
        assert "news [/draft]" in said
        assert "[see file] MIT" in said


class TestFaults:
    def given(self, folder: Path, content: bytes, name: str = "a.txt") -> dict[str, Any]:
        (folder / name).write_bytes(content)
        return {"sources": [{"path": str(folder / name)}]}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                b"x",
                r"a\.txt: nothing is left of 1 documents; quality: fewer than 10 characters \(1\); change",
            ),
            (b" \n\n ", r"a\.txt: no document found; the files hold nothing but blank lines"),
            (
                b"Just one short document here.",
                r"the validation split would be empty: 1 documents in 1 clusters",
            ),
            (b"ab\0cd", r"a\.txt: holds NUL bytes"),
        ],
        ids=["one character", "blank", "one document", "binary"],
    )
    def test_input_that_gives_no_corpus(self, tmp_path: Path, content: bytes, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            prepare(settings_of(self.given(tmp_path, content)), tmp_path / "corpus")
        assert not (tmp_path / "corpus").exists()

    def test_one_long_file_is_cut_and_split(self, tmp_path: Path) -> None:
        generator = random.Random(0)
        text = "\n\n".join(poem(generator) for _ in range(4000))
        made = prepare(settings_of(self.given(tmp_path, text.encode())), tmp_path / "corpus")
        assert made.splits == ("train", "validation", "test")
        assert made.counts("train").documents > 10

    def test_faults_that_are_skipped_are_counted_and_shown(self, tmp_path: Path) -> None:
        text = "\n".join(poem(random.Random(number)).replace("\n", "") for number in range(40)).encode()
        given = self.given(tmp_path, text.replace(b"\n", b"\n\xff\xff\n", 2))
        reading = {"documents": "line", "on_error": "skip"}
        made = prepare(settings_of(given, read=reading), tmp_path / "corpus")
        assert made.manifest["steps"][0]["dropped"] == {"undecodable line": 2}
        places = [example["source"] for example in made.dropped() if example["step"] == "read"]
        assert sorted(places)[0].startswith(f"{tmp_path}/a.txt:2: byte 0xff is not UTF-8")

    def test_the_corpus_inside_its_own_source_is_not_read(self, tmp_path: Path) -> None:
        text = material(tmp_path)
        sources = {"sources": [{"path": str(tmp_path / "essays")}]}
        first = prepare(settings_of(sources), tmp_path / "essays" / "corpus")
        again = prepare(settings_of(sources), tmp_path / "essays" / "corpus")
        assert again.fingerprint == first.fingerprint
        assert text

    @pytest.mark.parametrize("damage", ["edited", "torn", "missing"])
    def test_a_damaged_file_is_named(self, given_text: dict[str, Any], tmp_path: Path, damage: str) -> None:
        made = prepare(settings_of(given_text), tmp_path / "corpus")
        file = tmp_path / "corpus" / "train-00000.jsonl.zst"
        raw = file.read_bytes()
        if damage == "edited":
            file.write_bytes(zstandard.compress(b'{"text":"other","source":"x","meta":{}}\n'))
        elif damage == "torn":
            file.write_bytes(raw[: len(raw) // 2])
            with pytest.raises(ValueError, match=r"train-00000\.jsonl\.zst: cannot be read"):
                list(made.documents("train"))
        else:
            file.unlink()
            with pytest.raises(ValueError, match=r"train-00000\.jsonl\.zst: cannot be read"):
                list(made.documents("train"))
        with pytest.raises(ValueError, match=r"train-00000\.jsonl\.zst: (checksum differs|missing)"):
            Corpus.open(tmp_path / "corpus", verify=True)

    def test_what_is_no_corpus_is_not_opened(self, corpus: Corpus, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="no such folder; make a corpus with rootlm data prepare"):
            Corpus.open(tmp_path / "absent")
        with pytest.raises(ValueError, match=r"holds no manifest\.json"):
            Corpus.open(tmp_path)
        (tmp_path / "manifest.json").write_text("{}")
        with pytest.raises(ValueError, match="is not of a corpus"):
            Corpus.open(tmp_path)
        with pytest.raises(ValueError, match="has no split dev; it has train, validation, test"):
            corpus.counts("dev")


class TestVerbs:
    def test_prepare_and_show(
        self, given_text: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        essays = given_text["sources"][1]["path"]
        data_prepare.run([essays, f"out={tmp_path}/corpus", "quality.min_characters=12", "--split.seed", "3"])
        printed = capsys.readouterr().out
        assert f"rootlm tokenizer train {tmp_path}/corpus" in printed
        assert "one document per file" in printed
        data_show.run([f"{tmp_path}/corpus", "samples=2"])
        assert "validation, 2 of 2 documents" in capsys.readouterr().out

    def test_a_recipe_names_the_sources(self, given_text: dict[str, Any], tmp_path: Path) -> None:
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(json.dumps({**given_text, "split": {"test": 0}}))
        with pytest.raises(ValueError, match="names sources and so does the command line"):
            data_prepare.run([str(tmp_path), f"recipe={recipe}", f"out={tmp_path}/corpus"])
        data_prepare.run([f"recipe={recipe}", f"out={tmp_path}/corpus"])
        assert Corpus.open(tmp_path / "corpus").splits == ("train", "validation")

    @pytest.mark.parametrize(
        ("token", "message"),
        [
            (
                "quality.min_charcters=3",
                "unknown key quality.min_charcters; did you mean quality.min_characters",
            ),
            ("split.validation=2", "split.validation is 2, expected less than 1"),
            ("qualitee=1", "unknown key qualitee"),
        ],
    )
    def test_mistakes_are_named(
        self, given_text: dict[str, Any], tmp_path: Path, token: str, message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            data_prepare.run([given_text["sources"][1]["path"], f"out={tmp_path}/c", token])

    def test_a_step_can_be_left_out(self, given_text: dict[str, Any], tmp_path: Path) -> None:
        data_prepare.run(
            [given_text["sources"][1]["path"], f"out={tmp_path}/c", "language=null", "quality=null"]
        )
        steps = [step["step"] for step in Corpus.open(tmp_path / "c").manifest["steps"]]
        assert steps == ["read", "repair", "normalise", "duplicates"]

    def test_help_names_the_settings_and_does_not_import_torch(self) -> None:
        program = (
            "import sys; from rootlm.cli.main import run; run(['data', 'prepare', '--help']);"
            "assert not {'torch', 'ftfy', 'rensa', 'fasttext'} & set(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert "documents" in done.stdout
        assert "licence" in done.stdout
