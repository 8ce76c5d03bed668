"""BLEU and chrF equal sacrebleu's, and their intervals hold what they should."""

import random

import pytest
from sacrebleu.metrics import BLEU, CHRF

from rootlm.evaluation.overlap import overlap

ENGLISH = [
    ("Open the File menu, then choose Save.", "Open the File menu and choose Save As..."),
    ("The cell (A1) holds 3.5%.", "Cell A1 contains 3.5%."),
    ("", "Nothing was written here."),
    ("Exactly the same text - really.", "Exactly the same text - really."),
    ("word", "Another sentence of several words"),
]
CHINESE = [
    ("打开「文件」菜单，选择保存。", "打开「文件」菜单，然后选择「另存为」。"),
    ("单元格 A1 的值为 3.5%", "A1 单元格包含 3.5%。"),
    ("完全一样", "完全一样"),
    ("错", "这里有别的话要说"),
]


@pytest.mark.parametrize(("pairs", "language"), [(ENGLISH, "en"), (CHINESE, "zh"), (ENGLISH[4:], "en")])
def test_figures_equal_those_of_sacrebleu(pairs, language):
    texts, references = map(list, zip(*pairs, strict=True))
    found = overlap(texts, references, language)
    bleu = BLEU(tokenize="zh" if language == "zh" else "13a").corpus_score(texts, [references]).score
    assert found.bleu().value == pytest.approx(bleu, abs=1e-9)
    assert found.chrf().value == pytest.approx(CHRF().corpus_score(texts, [references]).score, abs=1e-9)


def test_a_perfect_text_scores_full_marks_and_a_strange_one_nothing():
    references = [reference for _, reference in CHINESE]
    assert overlap(references, references, "zh").bleu().value == pytest.approx(100)
    assert overlap(references, references, "zh").chrf().value == pytest.approx(100)
    assert overlap(["ÿ"] * 4, references, "zh").chrf().value == 0


def test_in_pairs_a_small_difference_shows_that_the_intervals_hide():
    generator = random.Random(1)
    references = [" ".join(generator.choice("abcdefgh") for _ in range(12)) for _ in range(200)]

    def spoilt(places):
        return [" ".join(["z"] * places + text.split()[places:]) for text in references]

    # The worse system spoils one more word of every text that is hard for both.
    hard = [number % 2 == 0 for number in range(200)]
    one, other = (
        [b if h else a for a, b, h in zip(references, spoilt(n), hard, strict=True)] for n in (3, 4)
    )
    first, second = overlap(one, references, "en"), overlap(other, references, "en")
    assert first.bleu().low < second.bleu().high
    assert first.bleu_above(second).low > 0
    assert first.chrf_above(second).low > 0


def test_as_many_references_as_texts_are_needed():
    with pytest.raises(ValueError, match="2 texts cannot be compared with 1 references"):
        overlap(["a", "b"], ["a"], "en")
