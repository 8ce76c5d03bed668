"""Augmentation: the same text and number give the same change, anywhere; nothing held out is touched."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pypinyin import Style, lazy_pinyin

from rootlm.core.config import validate
from rootlm.text.augmentation.augment import (
    Augmenter,
    BackTranslation,
    Dropout,
    Embedding,
    Homophones,
    Hooks,
    Swap,
    Synonyms,
    read_table,
)
from rootlm.text.augmentation.augmented_copies import Augment, augmented, copied_lines
from rootlm.text.augmentation.homophones import alike
from rootlm.text.augmentation.word_changes import Sentence
from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.shards import to_document
from rootlm.text.signature import digest
from rootlm.text.words.segment import Segment

CHINESE = "我们在北京的公园里看见了一棵很大的树，树上有许多小鸟。\n春天来了，花都开了，大家都很高兴。"
ENGLISH = "We saw a very large tree in the park, and many small birds sang in it.\nSpring has come at last."
MIXED = "用Python写的程序 don't 一定很快，but it is easy to read，大家都喜欢。"
TEXTS = (CHINESE, ENGLISH, MIXED)
NEAR = {
    "large": ("huge", "big"),
    "tree": ("oak",),
    "公园": ("花园", "园林"),
    "树": ("大树",),
    "程序": ("code",),
}
HOOKS = Hooks(
    neighbours=lambda word: NEAR.get(word, ()), translate=lambda text: text.replace("的", "之") + " back"
)


@pytest.fixture
def table(tmp_path: Path) -> str:
    file = tmp_path / "near.tsv"
    file.write_text("".join(f"{word}\t{' '.join(others)}\n" for word, others in NEAR.items()))
    return str(file)


def made(table: str) -> dict[str, Augmenter]:
    kinds = {
        "dropout": Dropout(rate=0.3),
        "swap": Swap(rate=0.5),
        "swap anywhere": Swap(rate=0.5, reach=None),
        "replace": Synonyms(table=table, rate=0.7),
        "insert": Synonyms(table=table, action="insert", rate=0.7),
        "embedding": Embedding(rate=0.7),
        "homophones": Homophones(rate=0.3),
        "any tone": Homophones(rate=0.3, tones=False),
        "back-translation": BackTranslation(rate=0.7),
    }
    return {name: kind.build(HOOKS) for name, kind in kinds.items()}


def words(text: str) -> list[str]:
    return Segment().build().words(text)


NAMES = ("dropout", "swap", "swap anywhere", "replace", "insert", "embedding", "homophones", "any tone")


@pytest.mark.parametrize("name", [*NAMES, "back-translation"])
def test_the_same_text_and_number_give_the_same_change(table: str, name: str) -> None:
    one, other = made(table)[name], made(table)[name]
    expected = {(text, number): one(text, number) for text in TEXTS for number in range(6)}
    order = list(expected)
    random.Random(1).shuffle(order)
    random.seed(5)
    assert {key: other(*key) for key in order} == expected
    assert any(changed != text for (text, _), changed in expected.items())
    assert len(set(expected.values())) > len(TEXTS)


def test_another_seed_makes_another_change(table: str) -> None:
    for kind in (Dropout, Swap, Homophones):
        changes = {kind(rate=0.3, seed=seed).build()(CHINESE, 0) for seed in range(5)}
        assert len(changes) > 2


@given(
    text=st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from([*TEXTS, " ", "\n", "，", "a", "树", "don't", "\ud800"]), max_size=5).map(
            "".join
        ),
    ),
    number=st.integers(0, 9),
)
@settings(max_examples=100, deadline=None)
def test_no_text_breaks_them_and_no_change_loses_nothing(text: str, number: int) -> None:
    assert str(Sentence(Segment().build().pieces(text))) == text
    text = text.encode("utf-8", "replace").decode()
    for augmenter in (Dropout(rate=0.9).build(), Swap(rate=0.9).build(), Homophones(rate=0.9).build()):
        assert augmenter(text, number).strip() or not any(map(str.isalnum, text))


class TestEachKind:
    def test_dropout_leaves_words_out_and_lines_stand(self) -> None:
        dropout = Dropout(rate=0.3).build()
        for text in (CHINESE, ENGLISH):
            for number in range(20):
                left = iter(words(text))
                changed = dropout(text, number)
                assert all(word in left for word in words(changed)) or text is CHINESE
                assert changed.count("\n") == 1 and "  " not in changed
        assert Dropout(rate=0.99).build()("one two three", 3)

    def test_dropout_takes_the_share_it_was_told(self) -> None:
        text = " ".join(f"word{number}" for number in range(2000))
        for rate in (0.1, 0.4):
            left = len(Dropout(rate=rate).build()(text, 0).split())
            assert abs(left / 2000 - (1 - rate)) < 0.04

    def test_swap_keeps_every_word(self) -> None:
        for text in (ENGLISH, "春 天 来 了 ， 花 都 开 了"):
            for reach in (1, 3, None):
                changed = Swap(rate=0.5, reach=reach).build()(text, 1)
                assert changed != text
                assert sorted(changed.replace(",", "").replace(".", "").split()) == sorted(
                    text.replace(",", "").replace(".", "").split()
                )

    def test_synonyms_come_from_the_table(self, table: str) -> None:
        replace = Synonyms(table=table, rate=0.99).build()
        assert replace(ENGLISH, 0).replace("huge", "big").startswith("We saw a very big oak in the park,")
        assert replace("Large trees", 0) in ("Huge trees", "Big trees")
        assert "公园" not in replace(CHINESE, 0)
        assert replace("用 程序", 0) == "用 code" and replace("用程序Python", 0) == "用code Python"
        insert = Synonyms(table=table, action="insert", rate=0.99).build()
        changed = insert(ENGLISH, 0)
        assert "oak" in changed and all(word in changed for word in words(ENGLISH))
        assert len(words(changed)) == len(words(ENGLISH)) + 2

    def test_neighbours_are_asked_for_the_nearest(self) -> None:
        asked = Embedding(rate=0.99, nearest=1).build(HOOKS)
        assert asked(ENGLISH, 0).startswith("We saw a very huge oak")

    @pytest.mark.parametrize("tones", [True, False])
    @pytest.mark.parametrize("text", [CHINESE, "我們在學校裡讀書，寫字，唱歌，遊戲，還認識了許多朋友。"])
    def test_homophones_sound_alike(self, text: str, tones: bool) -> None:
        homophones = Homophones(rate=0.3, tones=tones).build()
        style = Style.TONE3 if tones else Style.NORMAL
        for number in range(5):
            changed = homophones(text, number)
            assert len(changed) == len(text)
            different = [(old, new) for old, new in zip(text, changed, strict=True) if old != new]
            assert 2 < len(different) < len(text) / 2
            # Each stands for a reading of the old character in its word, which need not be its first one.
            same = sum(
                lazy_pinyin(old, style=style) == lazy_pinyin(new, style=style) for old, new in different
            )
            assert same >= 0.7 * len(different)
        assert homophones(ENGLISH, 0) == ENGLISH

    def test_no_character_is_its_own_homophone(self) -> None:
        assert "在" not in alike("在", "zai4", tones=True) and "再" in alike("在", "zai4", tones=True)
        assert alike("在", "no reading", tones=True) == ""

    def test_traditional_text_stays_traditional(self) -> None:
        text = "我們在學校裡讀書，寫字，唱歌，遊戲，還認識了許多朋友。"
        changed = "".join(Homophones(rate=0.9).build()(text, number) for number in range(5))
        assert "们" not in changed and "学" not in changed
        assert changed.encode("big5")

    def test_back_translation_asks_the_translator(self) -> None:
        assert BackTranslation().build(HOOKS)("我的树", 0) == "我之树 back"
        changed = [BackTranslation(rate=0.5).build(HOOKS)("我的树", number) for number in range(100)]
        assert 30 < changed.count("我的树") < 70

    @pytest.mark.parametrize(("kind", "hook"), [(Embedding(), "neighbours"), (BackTranslation(), "translat")])
    def test_a_missing_hook_is_named(self, kind: Embedding | BackTranslation, hook: str) -> None:
        with pytest.raises(ValueError, match=hook):
            kind.build()


AUGMENT = Augment(kinds=(Dropout(rate=0.2), Swap(rate=0.2), Homophones()), copies=3)


def documents(count: int = 40) -> list[Document]:
    texts = [f"第{number}篇：{TEXTS[number % 3]}" for number in range(count)]
    return [Document(text, f"a.txt:{number}", {"language": "zh"}) for number, text in enumerate(texts)]


def copies_of(document: Document) -> list[Document]:
    return list(AUGMENT.build().copies(document))


class TestCopies:
    def test_they_say_where_they_come_from(self) -> None:
        original = documents(1)[0]
        copies = copies_of(original)
        assert 1 < len(copies) <= 3
        for copy in copies:
            assert copy.meta == {
                "language": "zh",
                "augmented_from": "a.txt:0",
                "augmented_by": ["dropout", "swap", "homophones"],
            }
            assert copy.text != original.text and copy.source.startswith("a.txt:0~")
        assert len({copy.text for copy in copies}) == len(copies)

    def test_order_and_workers_make_no_difference(self) -> None:
        originals = documents()
        alone = [copies_of(document) for document in originals]
        augmentation = AUGMENT.build()
        backwards = [list(augmentation.copies(document)) for document in reversed(originals)]
        assert backwards[::-1] == alone
        with ProcessPoolExecutor(2) as pool:
            assert list(pool.map(copies_of, originals, chunksize=7)) == alone

    def test_only_what_is_trained_on(self) -> None:
        augmentation = AUGMENT.build()
        assert len(list(augmented(documents(5), "train", augmentation))) > 10
        for split in ("validation", "test"):
            with pytest.raises(ValueError, match="only train is augmented"):
                list(augmented(documents(5), split, augmentation))

    def test_a_copy_that_has_become_a_held_out_document_is_left_out(self) -> None:
        original = Document("one two", "a:1")
        augmentation = Augment(kinds=(Dropout(rate=0.5),), copies=20).build()
        free = {copy.text for copy in augmentation.copies(original)}
        assert free == {"one", "two"}
        kept = {copy.text for copy in augmentation.copies(original, {digest("two")})}
        assert kept == {"one"}

    def test_lines_of_a_corpus_have_copies_too(self) -> None:
        for document in documents(6):
            line = orjson.dumps({"text": document.text, "source": document.source, "meta": document.meta})
            assert list(map(to_document, copied_lines(line, AUGMENT.build()))) == copies_of(document)

    def test_a_copy_is_not_copied(self) -> None:
        copy = copies_of(documents(1)[0])[0]
        with pytest.raises(ValueError, match="is an augmented copy"):
            copies_of(copy)

    def test_a_change_of_nothing_is_no_copy(self) -> None:
        assert list(Augment(kinds=(Homophones(),), copies=5).build().copies(Document(ENGLISH, "a:1"))) == []

    def test_on_the_fly_each_epoch_differs(self) -> None:
        augmentation = AUGMENT.build()
        assert len({augmentation(CHINESE, epoch) for epoch in range(5)}) > 3
        assert augmentation(CHINESE, 2) == AUGMENT.build()(CHINESE, 2)


class TestFaults:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("树 大树", "no tab"),
            ("树\t", "no tab"),
            ("树\t树", "names no other word"),
            ("word\tx", "has a line already"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path: Path, line: str, reason: str) -> None:
        file = tmp_path / "near.tsv"
        file.write_text(f"word\tother\n{line}\nlast\tfinal\n")
        with pytest.raises(ValueError, match=rf"near\.tsv:2: .*{reason}"):
            Synonyms(table=str(file)).build()
        faults = Faults("skip")
        assert read_table(file, faults) == {"word": ("other",), "last": ("final",)}
        assert faults.counts["rejected line"] == 1

    def test_broken_and_empty_tables(self, tmp_path: Path) -> None:
        file = tmp_path / "near.tsv"
        build: Callable[[], Augmenter] = Synonyms(table=str(file)).build
        with pytest.raises(ValueError, match="no such file"):
            build()
        file.write_bytes(b"")
        with pytest.raises(ValueError, match="the file is empty"):
            build()
        file.write_bytes("树\t大树\n".encode() * 9 + b"\xff\n")
        with pytest.raises(ValueError, match=r"near\.tsv:10"):
            build()

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            ({"kinds": [{"kind": "drop"}]}, "drop"),
            ({"kinds": []}, "at least 1"),
            ({"kinds": [{"kind": "dropout", "rate": 1.5}]}, "less than 1"),
            ({"kinds": [{"kind": "synonyms"}]}, "table"),
        ],
    )
    def test_wrong_settings_are_explained(self, data: dict[str, object], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            validate(Augment, data)
