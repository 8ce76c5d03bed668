"""Laws of the steps a document passes by itself: cleaning twice is cleaning once, nothing is lost unseen."""

from __future__ import annotations

import itertools
import unicodedata

import ftfy
import pytest
from ftfy.badness import is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from language_cases import cases
from rootlm.text.document import Document, Rewrite
from rootlm.text.settings import Prepare
from rootlm.text.steps.language import Language, language
from rootlm.text.steps.normalise import Normalise
from rootlm.text.steps.quality import Quality
from rootlm.text.steps.repair import _SOUND, Repair, repair
from rootlm.text.tally import Tally

POEM = "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。"
ENGLISH = "It was the best of times, it was the worst of times, it was the age of wisdom."
STRANGE = (
    "schÃ¶n â€œquotedâ€\x9d",
    "a &amp;amp; b &lt;i&gt; &copy;",
    "<b>x</b> &amp; y\n&amp; z",
    "e\u0301te\u0301 \u212b \u2126 ﬁne ĳ",
    "x\r\ny\rz\u2028w\x85v",
    "tab\t \n  \u3000\n\n\n\n\nend \u3000",
    "\ufeffbom \u200bzero\u00adsoft\u00a0nbsp",
    "&\u200bamp; & amp; &#65279;amp;",
    "\x1b[31mred\x1b[0m \x00\x07 bell",
    "ＡＢＣ１２３，。！？；：（）“”‘’—…《》",
    "\ud83d\ude00 surrogates",
    "Ã\u200b¶ â\u0080\u009c",
    "K\u0307\u0323 가\u1100\u1161",
    "〜～　全角　空格",
)
NORMALISE = {
    "normalise": Normalise(),
    "no blank": Normalise(max_blank_lines=0),
}
REWRITES = {"repair": Repair(), "entities": Repair(unescape_html=True), **NORMALISE}

texts = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from([*STRANGE, POEM, "&", "amp;", "<", "Ã", "¶", "â", "€", "\u0301", " ", "\n"]),
        max_size=8,
    ).map("".join),
)


@pytest.fixture(params=REWRITES)
def rewrite(request: pytest.FixtureRequest) -> Rewrite:
    return REWRITES[request.param].build()


@pytest.mark.parametrize("text", [*STRANGE, POEM, ENGLISH, "", "\n"])
def test_rewriting_twice_equals_once(rewrite: Rewrite, text: str) -> None:
    assert rewrite(rewrite(text)) == rewrite(text)


@pytest.mark.parametrize("step", REWRITES.values(), ids=REWRITES)
@given(text=texts)
@settings(max_examples=150, deadline=None)
def test_rewriting_any_text_twice_equals_once(step: Repair | Normalise, text: str) -> None:
    rewrite = step.build()
    assert rewrite(rewrite(text)) == rewrite(text)


@given(text=texts)
@settings(max_examples=150, deadline=None)
def test_treating_any_text_twice_equals_once(text: str) -> None:
    treatment = Prepare(quality=None, language=None).treatment()
    (once,) = treatment.stream([Document(text, "a:1")], Tally())
    (twice,) = treatment.stream([once], Tally())
    assert twice.text == once.text


@pytest.mark.parametrize(
    "text", [POEM, "“引号”、‘单引号’——破折号……（括号）《书名》！？；：，。", "ＡＢＣ１２３　全角"]
)
def test_chinese_punctuation_is_left_alone(text: str) -> None:
    treatment = Prepare(quality=None).treatment()
    assert next(iter(treatment.stream([Document(text, "a:1")], Tally()))).text == text


def test_normalised_text_is_composed_and_tidy() -> None:
    text = Normalise().build()("  e\u0301 \r\n\r\n\r\n\r\nx\u200b\u00a0y \t\n")
    assert text == "é\n\nx y"
    assert unicodedata.is_normalized("NFC", text)


class TestTheGuardOfTheRepair:
    """Text made of sound characters is returned unchanged without asking ftfy; so ftfy must not change it."""

    @staticmethod
    def sound() -> list[str]:
        import re

        inside = re.compile(f"[{_SOUND}]")
        return [chr(code) for code in range(0x20000) if inside.match(chr(code))]

    def test_no_sound_character_is_changed_alone(self) -> None:
        for block in (
            itertools.batched(self.sound(), 2000) if hasattr(itertools, "batched") else [self.sound()]
        ):
            text = "\n".join(character for character in block if character not in "\n<")
            assert ftfy.fix_text(text, fix_character_width=False, uncurl_quotes=False) == text

    def test_no_sound_character_composes(self) -> None:
        for character in self.sound():
            assert unicodedata.combining(character) == 0
            assert unicodedata.normalize("NFC", "a" + character) == "a" + character

    def test_no_string_of_sound_characters_looks_like_wrongly_decoded_text(self) -> None:
        from ftfy.badness import MOJIBAKE_CATEGORIES

        suspects = "".join(MOJIBAKE_CATEGORIES.values())
        special = [c for c in self.sound() if c > "\x7f" and c in suspects]
        assert len(special) < 12
        for length in (1, 2, 3, 4):
            for letters in itertools.product([*special, "a", "A", " ", "中", "."], repeat=length):
                assert not is_bad("".join(letters))

    @given(text=texts)
    @settings(max_examples=300, deadline=None)
    def test_one_round_equals_ftfy(self, text: str) -> None:
        from rootlm.text.steps.repair import _repaired_lines

        whole = ftfy.fix_text(text, fix_character_width=False, uncurl_quotes=False)
        assert "".join(_repaired_lines(text, "auto")) == whole

    def test_repairs_what_was_decoded_wrongly(self) -> None:
        assert repair("schÃ¶n &amp; gut") == "schön & gut"
        assert repair("床前".encode().decode("latin-1")) == "床前"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (POEM, None),
        ("春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。", None),
        (ENGLISH, None),
        ("def add(a, b):\n    return a + b\n\nprint(add(1, 2))\n", None),
        ("短诗", "fewer than 10 characters"),
        ("12 34 56 78 90 12 34 56 78", "less than 50% letters"),
        ("□□故國□□不堪回首月明中", "more than 15% symbols"),
        (
            "\n".join(["subscribe to our newsletter", "a line", "other line"] * 4),
            "more than 30% in repeated lines",
        ),
        ("哈" * 400, "repeats itself (packs more than 8 times)"),
        ("", "fewer than 10 characters"),
    ],
)
def test_quality_gives_the_reason(text: str, reason: str | None) -> None:
    assert Quality().build()(Document(text, "a:1")) == reason


def test_quality_limits_can_be_set() -> None:
    document = Document(ENGLISH, "a:1")
    assert Quality(max_characters=20).build()(document) == "more than 20 characters"
    assert Quality(min_characters=100).build()(document) == "fewer than 100 characters"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (POEM, "zh"),
        ("秦川雄帝宅，函谷壯皇居。綺殿千尋起，離宮百雉餘。", "zh"),
        ("今天我们用 Python 写一个 tokenizer，然后训练。", "zh"),
        (ENGLISH, "en"),
        ("吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", "ja"),
        ("나는 오늘 아침에 학교에 갔다. 날씨가 매우 좋았다.", "ko"),
        ("Le chat est assis sur la table et regarde par la fenêtre.", "fr"),
        ("12345 67890 !!!", "und"),
        ("", "und"),
    ],
)
def test_language_is_told(text: str, expected: str) -> None:
    assert language(text) == expected


def test_unwanted_languages_are_dropped_with_the_reason() -> None:
    documents = [Document(POEM, "a:1"), Document(ENGLISH, "a:2")]
    tally = Tally()
    treatment = Prepare(language=Language(wanted=("zh",))).treatment()
    kept = list(treatment.stream(documents, tally))
    assert [document.source for document in kept] == ["a:1"]
    assert dict(tally.dropped) == {("language", "en is not a wanted language"): 1}


@given(st.lists(st.sampled_from([POEM, ENGLISH, "x", "12345 67890 12345", *STRANGE]), max_size=12))
@settings(max_examples=50, deadline=None)
def test_kept_and_dropped_make_what_was_read_and_order_stays(texts: list[str]) -> None:
    documents = [Document(text, f"a:{number}") for number, text in enumerate(texts)]
    tally = Tally()
    kept = [int(document.source[2:]) for document in Prepare().treatment().stream(documents, tally)]
    assert kept == sorted(kept)
    assert len(kept) + sum(tally.dropped.values()) == len(documents) == tally.read
    assert all(step and reason for step, reason in tally.dropped)


def test_given_keys_survive_beside_our_own() -> None:
    document = Document(ENGLISH, "a:1", {"language": "klingon", "author": "Dickens"})
    (treated,) = Prepare().treatment().stream([document], Tally())
    assert treated.meta == {"given_language": "klingon", "author": "Dickens", "language": "en"}


@pytest.mark.parametrize("name", ["zh", "en"])
def test_chinese_and_english_are_told_from_others(name: str) -> None:
    found = [(expected, language(text)) for expected, text in cases()]
    right = sum(pair == (name, name) for pair in found)
    precision = right / sum(told == name for _, told in found)
    recall = right / sum(expected == name for expected, _ in found)
    print(f"{name}: precision {precision:.3f}, recall {recall:.3f} on {len(found)} sentences")
    assert precision >= 0.98
    assert recall >= 0.98


def test_other_languages_are_mostly_told_too() -> None:
    found = [(expected, language(text)) for expected, text in cases() if expected not in ("zh", "en")]
    assert sum(expected == told for expected, told in found) >= 0.95 * len(found)
