"""Diversity equals its references and keeps its laws."""

import random

import pytest
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from rootlm.evaluation.diversity import cut, distinct, diversity, repetition, self_bleu

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "床", "前", "明", "月", "光"]


def made_up(seed, count=6):
    generator = random.Random(seed)
    return [[generator.choice(WORDS) for _ in range(generator.randint(3, 30))] for _ in range(count)]


@pytest.mark.parametrize("seed", range(8))
def test_self_bleu_equals_nltk(seed):
    texts = made_up(seed)
    smooth = SmoothingFunction().method1
    scores = [
        sentence_bleu([*texts[:number], *texts[number + 1 :]], text, smoothing_function=smooth)
        for number, text in enumerate(texts)
    ]
    assert self_bleu(texts) == pytest.approx(sum(scores) / len(scores), rel=1e-9)


def test_a_text_without_a_common_word_is_like_none():
    assert self_bleu([["a", "b", "c", "d"], ["e", "f", "g", "h"]]) == 0.0


@pytest.mark.parametrize("texts", [made_up(9, 1) * 5, [["a"] * 40] * 3])
def test_identical_texts_have_a_self_bleu_of_one(texts):
    assert self_bleu(texts) == pytest.approx(1.0)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_one_token_repeated_has_no_variety(order):
    shares = [distinct([["a"] * length], order) for length in (10, 100, 1000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(1 / (1001 - order))
    assert repetition([["a"] * 1000]) == pytest.approx(1 - 1 / 997)


def test_all_different_is_all_varied():
    text = [str(number) for number in range(50)]
    found = diversity([" ".join(text)])
    assert (found.distinct, found.repetition, found.self_bleu, found.units) == ((1, 1, 1), 0, 0, 50)


def test_the_order_of_texts_does_not_matter():
    texts = [" ".join(text) for text in made_up(3)]
    one, other = diversity(texts), diversity(texts[::-1])
    assert one.distinct == other.distinct
    assert one.self_bleu == pytest.approx(other.self_bleu)


def test_no_tokenizer_decides_the_units():
    assert cut("It's 3 o'clock 床前明月光。\n", 99) == [
        "It", "'", "s", "3", "o", "'", "clock", "床", "前", "明", "月", "光", "。",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="there are no texts"):
        diversity([])
