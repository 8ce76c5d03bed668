"""The published rules decide as their reference does on English, and sensibly on Chinese; rewrites settle."""

from __future__ import annotations

import ast
import itertools
import random
import sysconfig
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rootlm.core.config import validate
from rootlm.shipped import paths
from rootlm.text.document import Document, Rewrite, Rule
from rootlm.text.steps.c4 import C4Lines, C4Quality, sentences
from rootlm.text.steps.characters import codes
from rootlm.text.steps.fineweb import FineWebQuality
from rootlm.text.steps.gopher import GopherQuality
from rootlm.text.steps.han_variants import HanVariants
from rootlm.text.steps.repetition import GopherRepetition
from rootlm.text.steps.scripts import Scripts, script_shares
from rootlm.text.steps.widths import Widths
from rootlm.text.steps.word_list import WordFinder, WordList
from rootlm.text.steps.word_split import Words, _classes, hash_of, split_text

ENGLISH = (
    "The committee met on Monday to hear what the engineers have found. They said that the bridge is safe, "
    "and that nobody needs to worry about it. The mayor thanked them with a short speech. After that, the "
    "people of the town walked home in the rain. It was the end of a long and difficult summer for all of them."
)
CHINESE = (
    "昨天下午，工程师们向委员会报告了检查的结果。他们说，这座桥是安全的，大家不必担心。市长作了简短的讲话，"
    "向他们表示感谢。会议结束以后，镇上的人冒着雨走回家去。对所有的人来说，这是一个漫长而艰难的夏天的结束。"
    "第二天早上，报纸用整整一版刊登了这个消息，学校也恢复了上课。"
)


def shipped(name: str) -> list[str]:
    (path,) = (text.path for text in paths() if text.name == name)
    with path.open("rb") as stream:
        lines = zstandard.ZstdDecompressor().stream_reader(stream).read().splitlines()
    return [orjson.loads(line)["text"] for line in lines]


def docstrings(count: int) -> list[str]:
    """Return explanations written by people for the standard library: prose, lists, tables, code."""
    found: list[str] = []
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text and len(text) > 150:
                    found.append(text)
        if len(found) >= count:
            break
    return found[:count]


def breakings(chance: random.Random) -> list[Callable[[list[str], list[str]], str]]:
    """Return ways to break a document of lines and words on purpose."""
    spoilt = ["{", "lorem ipsum", "javascript", "[3]", "our privacy policy.\n", "a.\nb", "…", "..."]
    return [
        lambda lines, _: "\n".join("• " + line for line in lines),
        lambda lines, _: "\n".join(line + "..." if chance.random() < 0.35 else line for line in lines),
        lambda _, chunks: " ".join(chunks[: chance.randint(40, 60)]),
        lambda lines, _: "\n".join(line for line in lines for _ in range(chance.choice([1, 1, 1, 2]))),
        lambda lines, _: "\n\n".join(line for line in lines for _ in range(chance.choice([1, 1, 2]))),
        lambda _, chunks: " ".join(c if chance.random() < 0.75 else str(chance.randrange(9999)) for c in chunks),
        lambda _, chunks: " ".join(c if chance.random() < 0.95 else "buy cheap pills online now" for c in chunks),
        lambda _, chunks: "\n".join(chunks),
        lambda _, chunks: " ".join("#" + c if chance.random() < 0.12 else c for c in chunks),
        lambda _, chunks: " ".join(c if chance.random() < 0.98 else chance.choice(spoilt) for c in chunks),
        lambda _, chunks: "".join(chunks),
        lambda _, chunks: " ".join(" ".join(c) if chance.random() < 0.4 else c for c in chunks),
    ]  # fmt: skip


@cache
def documents() -> list[str]:
    """Return real English documents, and some that were broken on purpose."""
    real = shipped("shakespeare")[:1100] + docstrings(1000)
    chance = random.Random(1)
    ways = breakings(chance)
    broken = [chance.choice(ways)(text.split("\n"), text.split()) for text in chance.sample(real, 500)]
    assert len(real) >= 2000
    return [*real, *broken, "", "\n", "word", "a b c d e f g h i j " * 30, "no. " * 60]


NAMES = ("gopher", "repetition", "fineweb", "c4")
OURS: dict[str, Rule] = {
    "gopher": GopherQuality().build(),
    "repetition": GopherRepetition().build(),
    "fineweb": FineWebQuality().build(),
    "c4": C4Quality().build(),
}


class Reference:
    """What datatrove decides on every document, and into which words it splits them."""

    def __init__(self) -> None:
        from datatrove.data import Document as Theirs
        from datatrove.pipeline.filters import (
            C4QualityFilter,
            FineWebQualityFilter,
            GopherQualityFilter,
            GopherRepetitionFilter,
        )

        filters = {
            "gopher": GopherQualityFilter(),
            "repetition": GopherRepetitionFilter(),
            "fineweb": FineWebQualityFilter(),
            "c4": C4QualityFilter(),
        }
        self.reasons: dict[str, list[str | None]] = {name: [] for name in NAMES}
        self.rewritten: list[str] = []
        self.counts: Counter[str] = Counter()
        for text in documents():
            for name, judge in filters.items():
                document = Theirs(text, "")
                verdict = judge.filter(document)
                self.reasons[name].append(None if verdict is True else verdict[1])
            self.rewritten.append(document.text)
            self.counts.update(self.words(text))

    @staticmethod
    def words(text: str) -> list[str]:
        from datatrove.utils.text import split_into_words

        return list(split_into_words(text))


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference()


def as_words(text: str, strings: list[str]) -> Words:
    """Return words that were found by another splitter."""
    starts, place = [], 0
    for string in strings:
        place = text.index(string, place)
        starts.append(place)
        place += len(string)
    points = codes(text)
    first = np.array(starts, dtype=np.int32)
    last = first + np.array([len(string) for string in strings], dtype=np.int32)
    hashes = np.array([hash_of(string) for string in strings], dtype=np.uint64)
    return Words(False, points, _classes()[points], first, last, hashes)


class TestParity:
    def test_words_are_those_of_the_reference(self, reference: Reference) -> None:
        ours = Counter(word for text in documents() for word in split_text(text))
        theirs = reference.counts
        assert (ours - theirs).total() + (theirs - ours).total() < 0.003 * theirs.total()

    @pytest.mark.parametrize("name", NAMES)
    def test_decisions_are_those_of_the_reference(self, name: str, reference: Reference) -> None:
        ours = [OURS[name](Document(text, "a:1")) for text in documents()]
        theirs = reference.reasons[name]
        different = [
            place for place, (a, b) in enumerate(zip(ours, theirs, strict=True)) if (a is None) != (b is None)
        ]
        assert sum(reason is not None for reason in theirs) > 150
        assert len(different) <= 0.002 * len(theirs)
        for place in different:
            assert self.with_their_words(name, documents()[place], reference) == (theirs[place] is not None)

    @staticmethod
    def with_their_words(name: str, text: str, reference: Reference) -> bool:
        """Return whether our rule drops a text when it is given the words of the reference."""
        if name == "c4":
            kept = "\n".join(line for line, fate in C4Lines().fates(text, False) if fate == "keep")
            lines = [as_words(line, reference.words(line)) for line in kept.split("\n")]
            return sum(map(sentences, lines)) < C4Quality().min_sentences
        found = as_words(text, reference.words(text))
        rules = {"gopher": GopherQuality(), "repetition": GopherRepetition(), "fineweb": FineWebQuality()}
        return rules[name].judge(text, found) is not None

    def test_lines_that_c4_keeps_are_those_of_the_reference(self, reference: Reference) -> None:
        kept = [place for place, reason in enumerate(reference.reasons["c4"]) if reason is None]
        assert len(kept) > 300
        for place in kept:
            once = "\n".join(C4Lines().remaining(documents()[place])).strip()
            assert once == reference.rewritten[place]


RULES = {
    "gopher": GopherQuality(),
    "repetition": GopherRepetition(),
    "fineweb": FineWebQuality(),
    "c4": C4Quality(),
    "scripts": Scripts(),
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_prose_is_kept(name: str, text: str) -> None:
    lines = text.replace(". ", ".\n").replace("。", "。\n")
    assert RULES[name].build()(Document(text, "a:1")) is None
    assert RULES[name].build()(Document(lines, "a:1")) is None


@pytest.mark.parametrize("name", RULES)
@given(
    text=st.text(st.sampled_from("aZ9é我的。，…“#{[]1]•-.\n \u3000'\"!АΩ\U0001f600\x85\ud800"), max_size=80)
)
@settings(max_examples=150, deadline=None)
def test_any_text_gets_a_decision(name: str, text: str) -> None:
    reason = RULES[name].build()(Document(text, "a:1"))
    assert reason is None or (reason and "\n" not in reason)


EMPTY_REASONS = [
    ("gopher", "fewer than 50 words"),
    ("repetition", "empty"),
    ("fineweb", "empty"),
    ("c4", "fewer than 5 sentences in lines that are sentences"),
    ("scripts", "no letters"),
]


@pytest.mark.parametrize(("name", "reason"), EMPTY_REASONS)
def test_an_empty_text_is_dropped(name: str, reason: str) -> None:
    assert RULES[name].build()(Document("", "a:1")) == reason


CHINESE_LINES = CHINESE.replace("。", "。\n").split()
CHINESE_REASONS: list[tuple[str, str, str | None]] = [
    ("gopher", CHINESE[:60], "fewer than 80 Chinese characters"),
    ("gopher", " ".join(CHINESE), "clauses shorter than 2 characters on average"),
    (
        "gopher",
        CHINESE.replace("，", "").replace("。", "").replace("、", ""),
        "clauses longer than 60 characters on average",
    ),
    ("gopher", "".join(f"#话题{word}#" for word in CHINESE), "more than 0.06 # per word"),
    (
        "gopher",
        CHINESE.replace("。", "……").replace("，", "……") + "……好吧" * 9,
        "more than 0.06 ellipses per word",
    ),
    (
        "gopher",
        "\n".join("· " + line for line in CHINESE_LINES),
        "more than 90% of the lines begin with a bullet",
    ),
    (
        "gopher",
        "\n".join(line[:-1] + "……" for line in CHINESE_LINES),
        "more than 30% of the lines end with an ellipsis",
    ),
    (
        "gopher",
        "".join(a + b + "123，" for a, b in itertools.pairwise(CHINESE)),
        "less than 70% of the words hold a letter",
    ),
    ("gopher", "手机配件批发 价格优惠 厂家直销 " * 9, "fewer than 2 different stop words"),
    ("repetition", "\n".join([*CHINESE_LINES, *CHINESE_LINES]), "more than 30% of the lines are repeated"),
    (
        "repetition",
        "".join(f"第{n}句，" + "欢迎光临" for n in "一二三四五六七八九十"),
        "more than 20% of it is one run of 3 characters",
    ),
    (
        "repetition",
        "".join(f"甲乙丙丁戊己庚辛{n}" for n in "春夏秋冬东西南北") + CHINESE * 2,
        "more than 15% of it in repeated runs of 8 characters",
    ),
    ("repetition", "鹅鹅鹅，曲项向天歌。白毛浮绿水，红掌拨清波。", None),
    (
        "fineweb",
        "\n".join(line.rstrip("。") for line in CHINESE_LINES),
        "less than 12% of the lines end a sentence",
    ),
    (
        "fineweb",
        "首页。\n新闻。\n" + CHINESE_LINES[0] + "\n联系我们。\n登录。\n注册账号。",
        "more than 67% of the lines have 10 characters or fewer",
    ),
    (
        "fineweb",
        "\n".join([*CHINESE_LINES, CHINESE_LINES[0]]),
        "more than 1% of the characters in repeated lines",
    ),
    ("fineweb", "“床前明月光，疑是地上霜。”\n「举头望明月，低头思故乡。」", None),
    ("c4", CHINESE_LINES[0], "fewer than 5 sentences in lines that are sentences"),
    ("c4", CHINESE + "｛｝。", "holds a curly bracket"),
    ("c4", CHINESE + "lorem ipsum。", "holds filler text (lorem ipsum)"),
    ("scripts", CHINESE + "▇" * 60, "more than 15% symbols"),
]


@pytest.mark.parametrize(("name", "text", "reason"), CHINESE_REASONS)
def test_chinese_has_limits_of_its_own(name: str, text: str, reason: str | None) -> None:
    assert RULES[name].build()(Document(text, "a:1")) == reason


def test_both_languages_live_in_one_corpus() -> None:
    rule = validate(GopherQuality, {"min_words": 9999}).build()
    assert rule(Document(ENGLISH, "a:1")) == "fewer than 9,999 words"
    assert rule(Document(CHINESE, "a:2")) is None
    assert rule(Document(CHINESE + " Python 3.12", "a:2")) is None


def test_every_published_limit_can_be_set() -> None:
    assert GopherQuality(max_words=20).build()(Document(ENGLISH, "a:1")) == "more than 20 words"
    limits = validate(GopherRepetition, {"top_runs": [[1, 0.01]]})
    assert limits.build()(Document(ENGLISH, "a:1")) == "more than 1% of it is one run of 1 words"
    lines = C4Lines(terminal_mark=False, min_words=1)
    assert lines.build()("no mark\njavascript!\nmore") == "no mark\nmore"
    assert C4Quality(min_sentences=1, lines=lines).build()(Document("no mark", "a:1")) is None
    assert C4Quality(min_sentences=0).build()(Document("no mark", "a:1")) is None


SCRIPTS: list[tuple[str, str | None]] = [
    ("Съешь же ещё этих мягких французских булок, да выпей чаю.", "less than 80% Han or Latin"),
    ("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", "less than 80% Han or Latin"),
    (
        "Buу сhеар рrоduсts nоw аnd sаvе mоnеу оn еvеrу рurсhаsе, оnlу tоdау!",
        "more than 10% of the words mix alphabets",
    ),
    ("买T恤吗？阿Q说OK，3D打印café", None),
    ("The letter α is Greek, and so is Ω; the rest of this sentence is plain English.", None),
    ("?!,.?!,.word?!,.;;", "more than 40% symbols and punctuation"),
    ("12345 67890", "no letters"),
]


@pytest.mark.parametrize(("text", "reason"), SCRIPTS)
def test_scripts_are_told(text: str, reason: str | None) -> None:
    limits = Scripts(min_share=0.2) if reason and "mix" in reason else Scripts()
    assert limits.build()(Document(text, "a:1")) == reason


def test_scripts_can_be_wanted() -> None:
    rule = validate(Scripts, {"wanted": ["Han", "Kana"]}).build()
    assert rule(Document("吾輩は猫である。名前はまだ無い。", "a:1")) is None
    assert rule(Document(ENGLISH, "a:1")) == "less than 80% Han or Kana"
    assert script_shares("нет no") == {"Latin": 0.4, "Cyrillic": 0.6}


class TestLines:
    def test_lines_that_are_no_sentences_go(self) -> None:
        ours = "Please turn on JavaScript to read this.\nRead our privacy policy here."
        text = f"Home | News\n{ENGLISH}\n{ours}\nIt works [1].[2]\nTo be continued..."
        assert C4Lines().build()(text) == f"{ENGLISH}\nIt works ."

    def test_chinese_lines_that_are_no_sentences_go(self) -> None:
        ours = "请在浏览器中启用JavaScript以继续阅读。\n请阅读我们的隐私政策和服务条款。\n版权所有，未经许可不得转载。"
        text = f"首页 新闻\n{CHINESE}\n{ours}\n他说：“好的，明天见。”\n好。"
        assert C4Lines().build()(text) == f"{CHINESE}\n他说：“好的，明天见。”"

    @given(
        st.lists(
            st.sampled_from([
                ENGLISH, CHINESE, "no end", "Lorem ipsum dolor sit.", "if (x) { y = 1; }.", "We use cookies today.",
                "[[1]2] a b.", "x [3] y z.[4]", "[1] [2] yes.", "See javascript { now.", "", "…", "好的，我们走吧……",
                "Lorem ipsum in javascript here.",
            ]),
            max_size=9,
        )
    )  # fmt: skip
    @settings(max_examples=200, deadline=None)
    def test_the_rule_decides_the_same_before_and_after(self, lines: list[str]) -> None:
        rewrite, rule = C4Lines().build(), C4Quality().build()
        text = "\n".join(line for line in lines if not line.startswith("["))
        assert rule(Document(rewrite(text), "a:1")) == rule(Document(text, "a:1"))


WIDTHS = {
    "half": Widths(),
    "full": Widths(letters="full"),
    "wide marks": Widths(punctuation="full"),
    "narrow marks": Widths(letters=None, punctuation="half"),
}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("half", "ＡＢｚ１２，。！？：；（“”）—…《》～　", "ABz12，。！？：；（“”）—…《》～　"),
        ("full", "Ab1 ，。", "Ａｂ１ ，。"),
        (
            "wide marks",
            "他说:你好,世界!真的?(是的)第1,2章;版本2.0.",
            "他说：你好，世界！真的？（是的）第1,2章；版本2.0.",
        ),
        ("wide marks", "好.\n好的...f(x) a(好)b((好))", "好。\n好的...f(x) a（好）b（（好））"),
        ("narrow marks", "hello，world（yes）！你好，世界！（是）", "hello,world(yes)！你好，世界！（是）"),
    ],
)
def test_widths(name: str, text: str, expected: str) -> None:
    assert WIDTHS[name].build()(text) == expected


REWRITES: dict[str, Callable[[], Rewrite]] = {
    **{name: step.build for name, step in WIDTHS.items()},
    "c4 lines": C4Lines().build,
    **{to: validate(HanVariants, {"to": to}).build for to in ("t2s", "s2t", "s2twp", "tw2sp", "s2hk")},
}


@cache
def built(name: str) -> Rewrite:
    return REWRITES[name]()


@pytest.mark.parametrize("name", REWRITES)
@given(
    text=st.one_of(
        st.text(max_size=50),
        st.lists(
            st.sampled_from([
                "你好", "。", "，", ",", ".", "!", "(", ")", "（", "）", "a", "Ａ", "1", "１", " ", "\n", "[1]",
                "[", "]",
                "薴", "苎", "么", "皇后", "頭髮", "软件", "檔案", "程序", "麼", "幺", "乾", "干", "“", "”", ":",
                "{", "...",
                "A b c.", "We use cookies.",
            ]),
            max_size=12,
        ).map("".join),
    )
)  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_rewriting_twice_equals_once(name: str, text: str) -> None:
    rewrite = built(name)
    assert rewrite(rewrite(text)) == rewrite(text)


class TestVariants:
    @pytest.mark.parametrize(
        ("to", "text", "expected"),
        [
            ("t2s", "憂鬱的臺灣烏龜，頭髮與發展", "忧郁的台湾乌龟，头发与发展"),
            ("s2t", "忧郁的乌龟，头发与发展", "憂鬱的烏龜，頭髮與發展"),
            ("s2twp", "软件和鼠标在内存里", "軟體和滑鼠在記憶體裡"),
            ("t2s", "吾輩は猫である。東京の櫻", "吾輩は猫である。東京の櫻"),
            ("t2s", "The 臺 is a character.", "The 台 is a character."),
        ],
    )
    def test_chinese_is_rewritten_and_japanese_is_not(self, to: str, text: str, expected: str) -> None:
        assert validate(HanVariants, {"to": to}).build()(text) == expected

    @pytest.mark.parametrize("to", ["t2s", "s2t", "s2tw", "s2twp", "s2hk", "tw2s", "tw2sp", "hk2s"])
    def test_every_character_settles(self, to: str) -> None:
        rewrite = validate(HanVariants, {"to": to}).build()
        blocks = (range(0x3400, 0x9FFF), range(0xF900, 0xFAFF), range(0x20000, 0x32000))
        once = rewrite("\n".join(chr(code) for block in blocks for code in block))
        assert rewrite(once) == once
        assert (
            sum(
                line != chr(code)
                for line, code in zip(once.split("\n"), itertools.chain(*blocks), strict=True)
            )
            > 1000
        )

    def test_a_poem_goes_there_and_back(self) -> None:
        poems = "\n".join(shipped("poems")[:300])
        there, back = HanVariants(to="s2t").build(), HanVariants().build()
        changed = sum(one != other for one, other in zip(poems, back(there(poems)), strict=True))
        assert changed < 0.001 * len(poems)


class TestWordLists:
    @staticmethod
    def written(folder: Path, content: str | bytes, name: str = "rude.txt") -> str:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return str(folder / name)

    def test_words_of_letters_are_whole_and_chinese_ones_are_not(self, tmp_path: Path) -> None:
        file = self.written(tmp_path, "# rude\nass\n坏词\n\nbad word\n")
        rule = WordList(files=(file,)).build()
        for text in ("What an ASS!", "一句坏词很多", "a bad word here", "ａｓｓ", "ass", "他ass了"):
            assert rule(Document(text, "a:1")) == "more than 0 words of the list rude.txt"
        for text in ("the class assembled", "ass9", "坏的词", "bad  word", "bad wording", ""):
            assert rule(Document(text, "a:1")) is None

    def test_the_longest_counts_once(self) -> None:
        finder = WordFinder([["bad", "bad word", "word up"], ["word", "bad worms"]])
        assert finder.find("A bad word up there; bad worm") == [[8, 3], [4]]

    def test_count_and_share_and_the_name_of_the_list(self, tmp_path: Path) -> None:
        files = tuple(self.written(tmp_path, word, f"{word}.txt") for word in ("foo", "bar"))
        counted = WordList(files=files, max_count=2).build()
        assert counted(Document("foo foo bar bar", "a:1")) is None
        assert counted(Document("foo bar bar bar", "a:1")) == "more than 2 words of the list bar.txt"
        shared = WordList(files=files, max_count=None, max_share=0.25).build()
        assert shared(Document("foo is a word here", "a:1")) is None
        assert shared(Document("foo is a foo", "a:1")) == "more than 25.0% in words of the list foo.txt"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"good\n\xff\xfe\n", r"rude\.txt:2: not UTF-8; write the list in UTF-8"),
            ("good\nbad\tword\n", r"rude\.txt:2: a tab or another control character; write one word"),
            ("# a\n\n!!!\n", r"rude\.txt:3: no letter and no digit; write one word"),
            ("x" * 201, r"rude\.txt:1: longer than 200 characters; write one word"),
            ("# only\n", r"rude\.txt: holds no word; write one per line"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path: Path, content: str | bytes, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            WordList(files=(self.written(tmp_path, content),)).build()

    def test_a_missing_list_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"none\.txt: cannot be read \(No such file"):
            WordList(files=(str(tmp_path / "none.txt"),)).build()

    @given(
        st.lists(st.text("ab 坏词", min_size=1, max_size=4).filter(str.strip), min_size=1, max_size=8),
        st.text("ab 坏词.", max_size=40),
    )
    @settings(max_examples=200, deadline=None)
    def test_equals_looking_for_each_word(self, listed: list[str], text: str) -> None:
        def at(place: int) -> list[int]:
            ends = [place + len(word) for word in listed if text.startswith(word, place)]
            return [
                end
                for end in ends
                if not any(
                    text[max(i - 1, 0) : i + 1].isascii()
                    and text[max(i - 1, 0) : i + 1].isalpha()
                    and 0 < i < len(text)
                    for i in (place, end)
                )
            ]

        expected, place = [], 0
        while place < len(text):
            ends = at(place)
            expected += [max(ends) - place] if ends else []
            place = max(ends) if ends else place + 1
        assert WordFinder([listed]).find(text) == [expected]
