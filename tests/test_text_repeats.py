"""Laws of repeats: what stands in the corpus before is taken out, all of it and nothing else, by any engine."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootlm.core.config import validate
from rootlm.text.copies import repeats
from rootlm.text.copies.repeat_keys import EARLIER, OFTEN, compare, count, told, write_parts
from rootlm.text.copies.repeat_settings import RepeatedLines, RepeatedSubstrings, Repeats
from rootlm.text.copies.repeated_lines import FoundLines, line_key
from rootlm.text.copies.repeated_substrings import FoundSubstrings
from rootlm.text.document import Document
from rootlm.text.pipeline.leaf import Leaf, write_leaf
from rootlm.text.pipeline.pool import Engine, Local
from rootlm.text.raw.faults import Faults
from rootlm.text.settings import Prepare
from rootlm.text.shards import to_document
from rootlm.text.tally import Tally
from rootlm.text.treatment import treat

BARE = Prepare.model_validate(
    {
        "repair": None,
        "normalise": None,
        "language": None,
        "quality": None,
        "duplicates": {"bands": 2, "rows": 2},
    }
)
PLENTY, LITTLE = 1 << 28, 12_000
HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]
LETTERS = "abcdefghijklmnopqrstuvwxyz     "


def leaves_of(folder: Path, texts: Sequence[str], prepare: Prepare = BARE, size: int = 7) -> list[Leaf]:
    """Write texts in leaves of a few; an empty one stands at the end."""
    leaves = []
    for start in range(0, len(texts) + 1, size):
        part = [
            Document(text, f"a.txt:{number}", {"title": str(number)})
            for number, text in enumerate(texts[start : start + size], start)
        ]
        leaves.append(Leaf(folder / "leaves" / hashlib.sha256(repr((start, part)).encode()).hexdigest()[:12]))
        if not leaves[-1].is_there:
            treated = treat(prepare.treatment(), part, "made", prepare.duplicates.hashes, prepare.split)
            write_leaf(leaves[-1].folder, [treated], Faults("stop"), [], prepare.duplicates)
    return leaves


def applied(
    folder: Path,
    texts: Sequence[str],
    wanted: dict[str, Any],
    prepare: Prepare = BARE,
    *,
    memory: int = PLENTY,
    engine: Engine | None = None,
) -> list[Leaf]:
    folder.mkdir(exist_ok=True)
    leaves = leaves_of(folder, texts, prepare)
    where, plain = engine or Local(1), prepare.model_dump_json()
    return repeats.apply(leaves, validate(Repeats, wanted), plain, where, folder, memory=memory)


def documents(leaves: Iterable[Leaf]) -> list[Document]:
    return [to_document(line) for leaf in leaves for line in leaf.lines()]


def texts_of(leaves: Iterable[Leaf]) -> list[str]:
    return [document.text for document in documents(leaves)]


def content(leaves: Iterable[Leaf]) -> list[dict[str, bytes]]:
    return [{file.name: file.read_bytes() for file in sorted(leaf.folder.iterdir())} for leaf in leaves]


def tally_of(leaves: Iterable[Leaf]) -> Tally:
    tally = Tally()
    for leaf in leaves:
        tally.add(leaf.tally)
    return tally


def lines_by_hand(texts: Sequence[str], rules: RepeatedLines) -> list[str]:
    def weight(key: str) -> int:
        return sum(rules.han_counts if "\u4e00" <= letter <= "\u9fff" else 1 for letter in key)

    holders: dict[str, list[int]] = {}
    for number, text in enumerate(texts):
        for key in {line_key(line) for line in text.split("\n")}:
            holders.setdefault(key, []).append(number)
    left = []
    for number, text in enumerate(texts):
        kept = [
            line
            for line in text.split("\n")
            if weight(key := line_key(line)) < rules.min_characters
            or len(holders[key]) < rules.documents
            or (rules.keep == "first" and holders[key][0] == number)
        ]
        left.append("\n".join(kept))
    return [text for text in left if text.strip()]


def windows_of(text: str, rules: RepeatedSubstrings) -> Iterator[tuple[int, int]]:
    for begin in range(len(text)):
        weight = 0
        for end in range(begin, len(text)):
            weight += rules.han_counts if "\u4e00" <= text[end] <= "\u9fff" else 1
            if weight >= rules.min_characters:
                yield begin, end + 1
                break


def spans_by_hand(texts: Sequence[str], rules: RepeatedSubstrings) -> list[list[tuple[int, int]]]:
    firsts: dict[str, tuple[int, int]] = {}
    found = []
    for number, text in enumerate(texts):
        covered = [False] * len(text)
        for begin, end in windows_of(text, rules):
            owner, place = firsts.setdefault(text[begin:end], (number, begin))
            if owner != number or begin >= place + (end - begin):
                covered[begin:end] = [True] * (end - begin)
        runs = itertools.groupby(range(len(text)), key=lambda place, covered=covered: covered[place])
        found.append([(own[0], own[-1] + 1) for is_covered, run in runs if is_covered and (own := list(run))])
    return found


def substrings_by_hand(texts: Sequence[str], rules: RepeatedSubstrings) -> list[str]:
    cutter = FoundSubstrings(rules, "", 0, 0)
    left = [cutter.cut(text, spans) for text, spans in zip(texts, spans_by_hand(texts, rules), strict=True)]
    return [text for text in left if text.strip()]


def planted(generator: random.Random, write: str, count: int = 24) -> list[str]:
    """Texts that share passages: at edges, overlapping, nested, three-fold."""

    def made(length: int) -> str:
        if write == "mixed":
            return "".join(
                generator.choice(HAN if generator.random() < 0.5 else LETTERS) for _ in range(length)
            )
        return "".join(generator.choices(HAN if write == "chinese" else LETTERS, k=length))

    source = made(160)
    texts = [source]
    for _ in range(count):
        pieces = [made(generator.randint(0, 60))]
        for _ in range(generator.randint(0, 3)):
            begin = generator.randrange(len(source))
            pieces += [source[begin : begin + generator.randint(1, 90)], made(generator.randint(0, 40))]
        texts.append("".join(pieces) + "。!")
    generator.shuffle(texts)
    return texts


LINES = {"lines": {"min_characters": 8, "documents": 3}}
SUBSTRINGS = {"substrings": {"min_characters": 24}}
RULES = RepeatedSubstrings(min_characters=24)


def test_nothing_asked_is_nothing_done(tmp_path: Path) -> None:
    leaves = leaves_of(tmp_path, ["one and the same line of text"] * 9)
    with Local(1) as engine:
        assert (
            repeats.apply(leaves, Repeats(), BARE.model_dump_json(), engine, tmp_path, memory=PLENTY)
            == leaves
        )
    assert not (tmp_path / "repeats").exists()
    assert Repeats().names == []


@pytest.mark.parametrize("write", ["english", "chinese", "mixed"])
@pytest.mark.parametrize("memory", [PLENTY, LITTLE])
def test_passages_are_those_that_a_search_by_hand_finds(tmp_path: Path, write: str, memory: int) -> None:
    for seed in range(4):
        texts = planted(random.Random(seed), write)
        left = applied(tmp_path, texts, SUBSTRINGS, memory=memory)
        by_hand = substrings_by_hand(texts, RULES)
        assert texts_of(left) == by_hand
        assert sum(map(len, by_hand)) < 0.9 * sum(map(len, texts))


@given(st.lists(st.text(alphabet="ab月 ", max_size=60), max_size=10))
@settings(deadline=None, max_examples=60)
def test_texts_of_few_letters_are_cut_as_by_hand(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    rules = RepeatedSubstrings(min_characters=8, han_counts=2)
    kept = [text for text in texts if text]
    left = applied(tmp_path_factory.mktemp("few"), kept, {"substrings": rules.model_dump()}, memory=LITTLE)
    untouched = [text for text in kept if not text.strip()]
    assert [text for text in texts_of(left) if text.strip()] == substrings_by_hand(kept, rules)
    assert [text for text in texts_of(left) if not text.strip()] == untouched


@pytest.mark.parametrize("keep", ["first", "none"])
@pytest.mark.parametrize("memory", [PLENTY, LITTLE])
def test_lines_are_those_that_a_count_by_hand_finds(tmp_path: Path, keep: str, memory: int) -> None:
    generator = random.Random(3)
    pool = [
        "All rights reserved (C) 2020",
        "all rights  RESERVED (c) 2020",
        "版权所有翻印必究",
        "明月",
        "Home",
    ]
    pool += ["".join(generator.choices(HAN, k=6)) for _ in range(12)]
    texts = ["\n".join(generator.choices(pool, k=generator.randint(1, 5))) for _ in range(40)]
    wanted = {"min_characters": 10, "keep": keep}
    left = applied(tmp_path, texts, {"lines": wanted}, memory=memory)
    assert texts_of(left) == lines_by_hand(texts, validate(RepeatedLines, wanted))
    assert len(texts_of(left)) < len(texts)


def test_a_line_that_stands_often_in_one_document_stays(tmp_path: Path) -> None:
    texts = [
        "\n".join(["the refrain of this song"] * 5),
        "the refrain of this song",
        "another line of another song",
    ]
    assert texts_of(applied(tmp_path, texts, LINES)) == texts


def test_a_dash_of_any_length_keeps_its_first_window(tmp_path: Path) -> None:
    texts = ["-" * 500 + " and " + "x" * 30, "before " + "-" * 90 + " after"]
    left = texts_of(applied(tmp_path, texts, SUBSTRINGS))
    assert left == ["-" * 24 + "\n\nand " + "x" * 30, "before\n\nafter"]


def test_workers_and_memory_make_no_difference(tmp_path: Path) -> None:
    generator = random.Random(5)
    texts = [*planted(generator, "mixed"), *planted(generator, "english", 12)]
    texts = [f"{text}\na line that all of them hold\n{number}" for number, text in enumerate(texts)]
    with Local(1) as alone, Local(3) as together:
        for wanted in (LINES, SUBSTRINGS, {**LINES, **SUBSTRINGS}):
            results = [
                content(
                    applied(tmp_path / f"{len(wanted)}-{place}", texts, wanted, memory=memory, engine=engine)
                )
                for place, (engine, memory) in enumerate(
                    ((alone, PLENTY), (together, PLENTY), (alone, 30_000), (together, 30_000))
                )
            ]
            assert all(result == results[0] for result in results)
            assert any(
                "repeats" in leaf.folder.parts
                for leaf in applied(tmp_path / f"{len(wanted)}-0", texts, wanted)
            )


@pytest.mark.parametrize("wanted", [LINES, SUBSTRINGS])
@pytest.mark.parametrize("write", ["english", "chinese", "mixed"])
def test_twice_is_once(tmp_path: Path, wanted: dict[str, Any], write: str) -> None:
    texts = planted(random.Random(11), write)
    texts = [f"{number} {text}\na line that all of them hold" for number, text in enumerate(texts)]
    once = texts_of(applied(tmp_path / "once", texts, wanted))
    assert once != texts
    assert texts_of(applied(tmp_path / "twice", once, wanted)) == once


def test_order_and_counts_are_kept(tmp_path: Path) -> None:
    """Every document is read once; it is kept or told as dropped, with its reason."""
    prepare = Prepare.model_validate(
        {"duplicates": {"bands": 2, "rows": 2}, "quality": {"min_characters": 40}}
    )
    shared = "This passage of several words is printed in a great many of these documents, again and again. "
    own = [
        "The river runs slowly through the old town in summer.",
        "short.",
        "",
        "No two of them are alike, I say!",
    ]
    texts = [shared + sentence + " " * 0 for sentence in own] + [shared]
    wanted = {"substrings": {"min_characters": 60}}
    before = tally_of(leaves_of(tmp_path, texts, prepare))
    leaves = applied(tmp_path, texts, wanted, prepare)
    tally, left = tally_of(leaves), documents(leaves)
    step = "repeated_substrings"
    assert before.read == tally.read == len(texts)
    assert tally.read - sum(tally.dropped.values()) == len(left) == sum(map(len, leaves))
    reasons = {reason: number for (where, reason), number in tally.dropped.items() if where == step}
    assert reasons[repeats.NOTHING_LEFT] == 2
    assert any(reason.startswith("quality: ") for reason in reasons)
    assert tally.changed[step] == len(texts) - 1
    numbers = [int(str(document.meta["title"])) for document in left]
    assert numbers == sorted(numbers)
    assert all(
        document.meta["collection"] == "made" and document.meta["language"] == "en" for document in left
    )
    assert not any("given" in key for document in left for key in document.meta)
    rows = tally.steps(["read", *prepare.step_names, step])
    assert rows[-1]["kept"] == len(left)
    assert {example["step"] for example in tally.examples()} == {step}


def test_a_new_leaf_is_one_that_treating_would_have_written(tmp_path: Path) -> None:
    prepare = Prepare.model_validate({"duplicates": {"bands": 2, "rows": 2}, "quality": None})
    texts = [f"{number} {text}" for number, text in enumerate(planted(random.Random(2), "mixed"))]
    made = applied(tmp_path / "made", texts, SUBSTRINGS, prepare)
    for leaf in made:
        mine = [to_document(line) for line in leaf.lines()]
        bare = [
            Document(document.text, document.source, {"title": document.meta["title"]}) for document in mine
        ]
        again = treat(prepare.treatment(), bare, "made", prepare.duplicates.hashes, prepare.split)
        assert b"".join(leaf.lines()) == again.lines
        records = leaf.records()
        for column in ("digest", "bytes", "characters"):
            assert np.array_equal(records[column], again.records[column])
        rows = np.arange(len(records))
        assert np.array_equal(leaf.signatures(rows, prepare.duplicates.hashes), again.signatures)
        names = [leaf.summary["languages"][code] for code in records["language"].tolist()]
        assert names == [document.meta["language"] for document in mine]


@pytest.mark.parametrize("wanted", [LINES, SUBSTRINGS, {**LINES, **SUBSTRINGS}])
def test_it_goes_on_after_an_interruption(
    tmp_path: Path, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [
        f"{number} {text}\na line that all hold"
        for number, text in enumerate(planted(random.Random(9), "mixed"))
    ]
    whole = content(applied(tmp_path / "whole", texts, wanted))
    rewrite, calls = repeats.write_leaf, Counter[str]()

    def breaking(*given: Any) -> None:
        calls["written"] += 1
        if calls["written"] == 2:
            raise KeyboardInterrupt
        rewrite(*given)

    monkeypatch.setattr(repeats, "write_leaf", breaking)
    with pytest.raises(KeyboardInterrupt):
        applied(tmp_path / "torn", texts, wanted)
    after = applied(tmp_path / "torn", texts, wanted)
    assert content(after) == whole
    written = calls["written"]
    assert content(applied(tmp_path / "torn", texts, wanted)) == whole
    assert calls["written"] == written
    assert not list((tmp_path / "torn").glob("repeats/*/counted"))


def test_leaves_without_repeats_are_the_same_leaves(tmp_path: Path) -> None:
    generator = random.Random(8)
    texts = ["".join(generator.choices(HAN, k=80)) for _ in range(20)]
    texts[19] = texts[3] + texts[19]
    before = leaves_of(tmp_path, texts)
    after = applied(tmp_path, texts, SUBSTRINGS)
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, True, False]


@pytest.mark.parametrize("wanted", [LINES, SUBSTRINGS])
@pytest.mark.parametrize("texts", [[], ["short"], ["短"] * 3])
def test_nothing_to_find(tmp_path: Path, wanted: dict[str, Any], texts: list[str]) -> None:
    assert texts_of(applied(tmp_path, texts, wanted)) == texts


@pytest.mark.parametrize(
    ("text", "span", "left"),
    [
        ("He said: the quick brown fox ran. And left.", (9, 33), "He said:\n\nAnd left."),
        ("unlikely words are whole words overall", (2, 32), "unlikely\n\noverall"),
        ("月光。床前明月光疑是地上霜。低头", (3, 14), "月光。\n\n低头"),
        ("床前明月光疑是地上霜。低头", (0, 11), "低头"),
        ("低头床前明月光疑是地上霜", (2, 12), "低头"),
        ("cafe\u0301 床前明月光", (4, 7), "cafe\u0301\n\n前明月光"),
        ("月👩\u200d🔬床前明月光", (2, 6), "月👩\u200d🔬\n\n明月光"),
        ("床前明月光", (0, 5), ""),
    ],
)
def test_cuts_leave_whole_words_and_characters(text: str, span: tuple[int, int], left: str) -> None:
    assert FoundSubstrings(RepeatedSubstrings(), "", 0, 0).cut(text, [span]) == left


def test_lines_go_with_their_ends() -> None:
    found = FoundLines(RepeatedLines(), "", 0, 0)
    assert found.cut("a\nb\nc", [(2, 4)]) == "a\nc"
    assert found.cut("a\nb\nc", [(0, 2), (4, 5)]) == "b"
    assert found.cut("a\nb\n", [(0, 2)]) == "b\n"
    assert found.cut("a", [(0, 1)]) == ""


@pytest.mark.parametrize("memory", [PLENTY, 1500])
def test_keys_are_counted_over_all_parts(tmp_path: Path, memory: int) -> None:
    generator = np.random.default_rng(1)
    pool = generator.integers(0, 1 << 64, 60, dtype=np.uint64)
    parts = [generator.choice(pool, generator.integers(0, 30)) for _ in range(12)]
    files = [tmp_path / f"{number}.keys" for number in range(4)]
    for number, file in enumerate(files):
        write_parts(file, (count(part).keys for part in parts[3 * number : 3 * number + 3]))
    with Local(1) as engine:
        ranges = compare(files, 4, engine, tmp_path / "told", memory)
    assert (ranges > 1) == (memory < PLENTY)
    total = Counter(key for part in parts for key in part.tolist())
    seen: set[int] = set()
    answers = [
        answer for index, file in enumerate(files) for answer in told(file, tmp_path / "told", index, ranges)
    ]
    for part, answer in zip(parts, answers, strict=True):
        for key, code in zip(count(part).keys.hashes.tolist(), answer, strict=True):
            assert bool(code & OFTEN) == (total[key] >= 4)
            assert bool(code & EARLIER) == (key in seen)
        seen.update(part.tolist())


def test_lines_written_in_other_widths_are_the_same() -> None:
    assert line_key("ＡＢＣ　１２３：版权") == line_key("abc 123:版权")
    assert line_key("版权所有") != line_key("版权没有")
    assert orjson.loads(Repeats().model_dump_json()) == {"lines": None, "substrings": None}
