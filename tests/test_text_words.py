"""Words and sentences: nothing is lost in cutting, dictionaries are obeyed or refused aloud, tags and lists hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import rjieba
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rootlm.cli import data_words
from rootlm.text.prepare import prepare
from rootlm.text.raw.faults import Faults
from rootlm.text.settings import Prepare
from rootlm.text.sources import Source
from rootlm.text.words.lemmas import lemmatizer
from rootlm.text.words.part_of_speech import PartOfSpeech, Tagged
from rootlm.text.words.segment import Segment
from rootlm.text.words.sentences import Sentences
from rootlm.text.words.stop_words import StopWords, shipped

SCRAPS = (
    *("他说：", "“走吧！”", "……", "——", "。", "！？", "…", '"', "'", "’", ")", "）", "Mr. ", "e.g. ", "3.14"),
    *(
        "https://a.b/c.d?e",
        "x@y.com",
        " ",
        "\n",
        "\n\n",
        "\u3000",
        "U.S. ",
        "don't",
        "5 p.m. ",
        "The ",
        "中文ABC",
    ),
    *("café", "\ud800", "𠮷", "吾輩は猫", "😀", "...", "No. 5", "１２．５", "\r\n", "\t", "A.", "1. "),
)
texts = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(SCRAPS), max_size=14).map("".join))


@given(text=texts)
@settings(max_examples=400, deadline=None)
def test_the_pieces_join_to_the_text(text: str) -> None:
    segmenter = Segment().build()
    pieces = segmenter.pieces(text)
    assert "".join(pieces) == text
    assert segmenter.words(text) == [piece for piece in pieces if not piece.isspace()]


@given(text=texts)
@settings(max_examples=400, deadline=None)
@pytest.mark.parametrize("line_ends", ["end", "blank"])
def test_the_sentences_join_to_the_text(line_ends: str, text: str) -> None:
    splitter = Sentences(line_ends=line_ends).build()
    pieces = splitter.pieces(text)
    assert "".join(pieces) == text
    assert all(pieces)
    assert not any("\n" in sentence for sentence in splitter.sentences(text))
    bare = "".join("".join(splitter.sentences(text)).split())
    assert bare == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("南京市长江大桥欢迎您。", "南京市 长江大桥 欢迎您 。"),
        ("I don't know, it’s 5G.", "I don't know , it’s 5G ."),
        ("用Python3写C++，F# too", "用 Python3 写 C++ ， F# too"),
        ("卡拉OK和T恤", "卡拉 OK 和 T恤"),
        ("3,000.50 of 3.14% at 12:30", "3,000.50 of 3.14% at 12:30"),
        ("the U.S. state-of-the-art e-mail x@y.com.", "the U.S. state-of-the-art e-mail x@y.com ."),
        ("看https://a.b/c?d=e，写给x@y.com。", "看 https://a.b/c?d=e ， 写给 x@y.com 。"),
        ("他在London说Li's，用F#写", "他 在 London 说 Li's ， 用 F# 写"),
        ("他说‘I’m’吗……——好...", "他 说 ‘ I’m ’ 吗 …… —— 好 ..."),
        ("naïve café店café", "naïve café 店 café"),
        ("他说，3,000.50元，花了1,200元，12:30走", "他 说 ， 3,000.50 元 ， 花 了 1,200 元 ， 12:30 走"),
        ("", ""),
    ],
)
def test_worked_examples_of_words(text: str, words: str) -> None:
    assert Segment().build().words(text) == words.split()


def test_chinese_is_cut_as_rjieba_cuts_it() -> None:
    text = "他来到了网易杭研大厦，研究生命的起源；乒乓球拍卖完了，结婚的和尚未结婚的。"
    assert Segment().build().words(text) == rjieba.cut(text)
    assert Segment(guess_new_words=False).build().words("他来到了网易杭研大厦") == rjieba.cut(
        "他来到了网易杭研大厦", False
    )


class TestDictionary:
    def test_its_words_stay_whole_and_nobody_elses_do(self, tmp_path: Path) -> None:
        file = tmp_path / "words.txt"
        file.write_text("床前明月光 20 n\n低头思故乡 v\n举头望明月\n\n云计算平台 100\nLi-Bai 3 nr\n")
        segmenter = Segment(dictionary=str(file)).build()
        assert segmenter.taught == 5
        text = "床前明月光，疑是地上霜。举头望明月，低头思故乡，用云计算平台"
        assert not {"床前明月光", "云计算平台"} & set(Segment().build().words(text))
        words = segmenter.words(text)
        assert {"床前明月光", "举头望明月", "低头思故乡", "云计算平台"} <= set(words)
        assert "疑是" in words
        tags = {piece.text: piece.tag for piece in segmenter.tagged(text)}
        assert tags["床前明月光"] == "n" and tags["低头思故乡"] == "v"

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
    def test_any_encoding(self, tmp_path: Path, encoding: str) -> None:
        file = tmp_path / "words.txt"
        file.write_text("床前明月光\n地上霜是什么\n举头望明月的人\n", encoding=encoding)
        assert Segment(dictionary=str(file)).build().taught == 3

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("云计算 10 n v", "4 columns, and a word cannot hold a space"),
            ("New York 10", "'York' is no frequency"),
            ("云计算 -3", "'-3' is neither a frequency"),
            ("云计算 10 名词", "'名词' is neither a frequency"),
            ("云计算 n 10", "'n' is no frequency"),
            ("云计算 0", "frequency 0 is never cut"),
            ("《红楼梦》", "always"),
            ("红楼，梦", "always stands alone"),
            ("云@计算", "always cut into"),
            ("，", "a mark, not a word"),
            ("好词", "stands on line 1 already"),
            ("我们的 1", "leave its frequency out or give"),
        ],
    )
    def test_a_bad_line_is_named_with_the_reason(self, tmp_path: Path, line: str, reason: str) -> None:
        file = tmp_path / "words.txt"
        file.write_text(f"好词\n{line}\n很好的词\n")
        with pytest.raises(ValueError, match=r"words\.txt:2: ") as caught:
            Segment(dictionary=str(file)).build()
        assert reason in str(caught.value)
        faults = Faults("skip")
        segmenter = Segment(dictionary=str(file)).build(faults)
        assert faults.counts["rejected word"] == 1
        assert f"{file}:2" in faults.examples["rejected word"][0]
        assert segmenter.words("很好的词") == ["很好的词"]

    def test_broken_bytes_cost_their_line_only(self, tmp_path: Path) -> None:
        file = tmp_path / "words.txt"
        file.write_bytes(
            "床前明月光\n".encode() * 1 + b"\xff\xfe\xe4\n" + "低头思故乡\n举头望明月\n".encode()
        )
        with pytest.raises(ValueError, match=r"words\.txt:2"):
            Segment(dictionary=str(file)).build()
        faults = Faults("skip")
        assert Segment(dictionary=str(file)).build(faults).taught == 3
        assert faults.counts["undecodable line"] == 1

    @pytest.mark.parametrize("content", [b"", b"\n\n  \n"])
    def test_an_empty_file_is_said(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "words.txt"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"words\.txt"):
            Segment(dictionary=str(file)).build()
        with pytest.raises(ValueError, match="no such file"):
            Segment(dictionary=str(tmp_path / "none.txt")).build(Faults("skip"))


@pytest.mark.parametrize(
    "sentences",
    [
        ["他说：“走吧！”", "我们就走了。", "OK."],
        ["“你好。”", "他说。", "“好……”", "然后走了。"],
        ["我……我不知道。", "真的……", "算了吧。"],
        ["他问：“是吗？”，我点头。", "那句“滚！”的回声。"],
        ["（他来了。）", "我走了！！", "【完】"],
        ["圆周率是3.14。", "约１２．５％。", "我用Node.js。", "他说OK.", "然后走了。"],
        ["Mr. Li paid $3.50.", "“Thanks!” he said.", "J. K. Rowling and E.O. Li left at 5 p.m.", "The end."],
        ["Apple Inc.", "The U.S. Army, e.g. Delta, won.", "See https://a.b/c?d=e.f.", "Fine."],
        ['He said "Hi."', '"Bye."', "It costs 3.14!", "No. 5 is alive.", "He said no.", "They went."],
        [
            "So do I.",
            "He met Dr. Who in Fig. 3 on Jan. 5, etc. and left.",
            "Wait... what?",
            "Well...",
            "Yes.",
        ],
        ["我爱Python.", "She codes.", "是的。", "Is it?", "对！"],
        ["Yahoo! is a company.", "He asked “why?” and left."],
    ],
)
def test_worked_examples_of_sentences(sentences: list[str]) -> None:
    chinese = all(ord(sentence[-1]) > 127 for sentence in sentences)
    text = ("" if chinese else " ").join(sentences)
    assert Sentences().build().sentences(text) == sentences


def test_a_straight_quote_closes_what_is_open_and_opens_what_is_not() -> None:
    split = Sentences().build().pieces
    assert split('他走了。"再见。"她说。') == ["他走了。", '"再见。"', "她说。"]
    assert split('"Go." She went. \'Now.\' "So?"') == ['"Go." ', "She went. ", "'Now.' ", '"So?"']


def test_lines_and_lists() -> None:
    verse = "静夜思\n床前明月光，\n疑是地上霜。\n\n1. First item\n2. Second item."
    assert Sentences().build().sentences(verse) == [
        *("静夜思", "床前明月光，疑是地上霜。", "1. First item", "2. Second item.")
    ]
    wrapped = "This line is\nbroken. And\nso on.\n\nA title\n\n中文也\n一样。"
    assert Sentences(line_ends="blank").build().sentences(wrapped) == [
        *("This line is broken.", "And so on.", "A title", "中文也一样。")
    ]


def test_a_long_text_takes_linear_time() -> None:
    for part in ("a.", "http://", "a@", "1.", '"', "。”", "A", "…", "'", "b-", "\n "):
        text = part * 40_000
        assert "".join(Sentences().build().pieces(text)) == text
        assert "".join(Segment().build().pieces(text)) == text


class TestStopWords:
    def test_both_lists_hold_the_words_that_matter_least(self) -> None:
        stop = StopWords().build()
        assert all(word in stop for word in ("的", "了", "我們", "这", "The", "OF", "isn't", "isn’t"))
        assert all(word not in stop for word in ("中国", "月亮", "king", "爱", "love"))
        assert 300 < len(shipped("zh")) < 700 and 200 < len(shipped("en")) < 400
        assert "the" not in StopWords(languages=("zh",)).build()

    def test_ones_own(self, tmp_path: Path) -> None:
        file = tmp_path / "more.txt"
        file.write_text("月亮\nKing\n")
        stop = StopWords(add=(str(file),), keep=("不", "NOT")).build()
        assert "月亮" in stop and "king" in stop and "不" not in stop and "not" not in stop
        file.write_text("月亮\nNew York\n")
        with pytest.raises(ValueError, match=r"more\.txt:2: 'New York' is more than one word"):
            StopWords(add=(str(file),)).build()
        file.write_text("")
        with pytest.raises(ValueError, match="the file is empty"):
            StopWords(add=(str(file),)).build()


class TestPartOfSpeech:
    def test_each_language_has_its_own_tags(self) -> None:
        tagger = PartOfSpeech().build(Segment().build())
        found = tagger.tag("我爱北京，１２月去Paris。 The mice ran to https://a.b quickly.")
        assert found == [
            *(
                Tagged("我", "r"),
                Tagged("爱", "v"),
                Tagged("北京", "ns"),
                Tagged("，", "w"),
                Tagged("１２", "m"),
            ),
            *(Tagged("月", "m"), Tagged("去", "v"), Tagged("Paris", "NNP"), Tagged("。", "w")),
            *(Tagged("The", "DT"), Tagged("mice", "NNS"), Tagged("ran", "VBD"), Tagged("to", "TO")),
            *(Tagged("https://a.b", "ADD"), Tagged("quickly", "RB"), Tagged(".", ".")),
        ]

    def test_universal_tags_are_one_set(self) -> None:
        tagger = PartOfSpeech(tagset="universal").build(Segment().build())
        found = dict(tagger.tag("他们在北京大学喜欢三个问题。 He can't read 12 old books, however."))
        assert found["北京大学"] == "PROPN" and found["喜欢"] == "VERB" and found["。"] == "PUNCT"
        assert found["books"] == "NOUN" and found["old"] == "ADJ" and found["12"] == "NUM"
        assert set(found.values()) <= {
            *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
            *("PART", "PRON", "PROPN", "PUNCT", "SYM", "VERB", "X"),
        }

    @given(text=texts)
    @settings(max_examples=150, deadline=None)
    def test_every_word_has_a_tag(self, text: str) -> None:
        for tagset in ("native", "universal"):
            found = PartOfSpeech(tagset=tagset).build(segmenter := Segment().build()).tag(text)
            assert [tagged.word for tagged in found] == [piece.text for piece in segmenter.tagged(text)]
            assert all(tagged.tag for tagged in found)


def test_lemmas() -> None:
    lemma = lemmatizer()
    words = ("The", "children", "were", "running", "faster", "than")
    assert [lemma(word) for word in words] == ["the", "child", "be", "run", "fast", "than"]
    assert lemma("北京") == "北京" and lemma("3.14") == "3.14" and lemma("Été") == "Été"


class TestTheVerb:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "in" / "text.txt"
        file.parent.mkdir()
        file.write_text("我爱北京。Mr. Li's mice ran.\n他走了！\n")
        return file

    def run(self, *tokens: object) -> None:
        data_words.run([str(token) for token in tokens])

    def test_documents_and_sentences(self, file: Path, tmp_path: Path) -> None:
        out = tmp_path / "out.txt"
        self.run(file, f"out={out}")
        assert out.read_text() == "我 爱 北京 。 Mr . Li's mice ran . 他 走 了 ！\n"
        self.run(file, f"out={out}", "sentences=true", "overwrite=true", "segment=false", "lower=true")
        assert out.read_text() == "我爱北京。\nmr. li's mice ran.\n他走了！\n"
        self.run(
            file,
            f"out={out}",
            "--overwrite",
            "sentences=true",
            "stop_words=true",
            "lemmas=true",
            "punctuation=false",
        )
        assert out.read_text() == "爱 北京\nMr Li's mouse run\n走\n"

    def test_tags_as_text_and_as_records(self, file: Path, tmp_path: Path) -> None:
        self.run(file, f"out={tmp_path / 'o.txt'}", "part_of_speech=true", "sentences=true")
        assert (tmp_path / "o.txt").read_text().splitlines()[0] == "我/r 爱/v 北京/ns 。/w"
        out = tmp_path / "o.jsonl.zst"
        self.run(
            file, f"out={out}", "part_of_speech=true", "lemmas=true", "sentences=true", "tagset=universal"
        )
        lines = [json.loads(line) for line in zstandard.open(out, "rt", encoding="utf-8")]
        assert lines[1]["words"] == ["Mr", ".", "Li's", "mice", "ran", "."]
        assert lines[1]["lemmas"][3:5] == ["mouse", "run"] and lines[1]["tags"][3:5] == ["NOUN", "VERB"]
        assert lines[1]["source"] == f"{file}:1" and [line["line"] for line in lines] == [0, 1, 2]

    def test_a_corpus_gives_one_split(self, tmp_path: Path) -> None:
        source = tmp_path / "poems.jsonl"
        poems = [f"第{number}首：床前明月光，疑是地上霜{number * 7}。" for number in range(100)]
        source.write_text("".join(json.dumps({"text": poem}) + "\n" for poem in poems))
        settings = Prepare(sources=(Source(path=str(source)),), quality=None, duplicates={"drop_near": False})
        corpus = prepare(settings, tmp_path / "corpus")
        self.run(corpus.folder, f"out={tmp_path / 'o.txt'}", "split=validation")
        assert len((tmp_path / "o.txt").read_text().splitlines()) == corpus.counts("validation").documents
        with pytest.raises(ValueError, match="has no split"):
            self.run(corpus.folder, f"out={tmp_path / 'p.txt'}", "split=dev")

    def test_a_folder_with_another_manifest_is_a_folder_of_files(self, file: Path, tmp_path: Path) -> None:
        (file.parent / "manifest.json").write_text('{"format": "of somebody else"}')
        self.run(file.parent, f"out={tmp_path / 'o.txt'}")
        assert (tmp_path / "o.txt").read_text().startswith("我 爱 北京")

    def test_what_it_refuses(self, file: Path, tmp_path: Path) -> None:
        out = tmp_path / "out.txt"
        for words, reason in {
            (): "no text given",
            ("nowhere.txt",): "no such file",
            (file, "segment=false", "lemmas=true"): "lemmas needs words",
            (file, f"dictionary={tmp_path / 'none'}"): "no such file",
            (file, "stop_word=true"): "did you mean stop_words",
        }.items():
            with pytest.raises(ValueError, match=reason):
                self.run(*words, f"out={out}")
            assert not out.exists()
        out.write_text("mine")
        with pytest.raises(ValueError, match="overwrite=true"):
            self.run(file, f"out={out}")
        file.write_bytes(b"\xff\xff ok\n\xff")
        with pytest.raises(ValueError, match=r"text\.txt:1"):
            self.run(file, f"out={out}", "overwrite=true", "read.encoding=utf-8")
        assert out.read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.txt"]

    def test_rejected_lines_are_listed(
        self, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = tmp_path / "words.txt"
        words.write_text("我爱北京 5000 n\n坏 行 x y\n")
        options = (f"dictionary={words}", "read.on_error=skip", f"out={tmp_path / 'o.txt'}")
        self.run(file, *options)
        said = capsys.readouterr().out
        assert "1 words stay whole" in said and f"{words}:2" in said and "4 columns" in said
        assert (tmp_path / "o.txt").read_text().startswith("我爱北京 。")

    def test_its_own_output_is_not_read_again(self, file: Path) -> None:
        out = file.parent / "out.txt"
        self.run(file.parent, f"out={out}")
        once = out.read_text()
        self.run(file.parent, f"out={out}", "overwrite=true")
        assert out.read_text() == once


def test_cutting_needs_neither_torch_nor_the_extras() -> None:
    code = (
        "import sys; from rootlm.text.words.segment import Segment; Segment().build().words('我爱北京'); "
        "import rootlm.cli.data_words, rootlm.text.augmentation.augment; "
        "sys.exit(bool({'torch', 'textblob', 'pypinyin', 'simplemma'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
