"""Laws of scoring: the one scale, and every token counted once."""

import itertools
import math

import numpy as np
import pytest
import torch

from rootlm.evaluation.figures import compare, evaluate
from rootlm.evaluation.heldout import heldout
from rootlm.evaluation.likelihood import score, score_ids
from rootlm.text.document import Document
from toys import Bigram, Lstm, bigram, byte_tokenizer, lowercase_tokenizer, uniform

BYTES = 257
TEXTS = ["床前明月光，", "疑是地上霜。\n举头望明月，低头思故乡。", "", "A man, a plan", "b"]


@pytest.fixture(scope="module")
def tokenizer():
    return byte_tokenizer()


def documents(texts=TEXTS):
    return [Document(text, f"poem.txt:{number}") for number, text in enumerate(texts, 1)]


def random_ids(sizes, vocab_size=BYTES, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(0, vocab_size, size).tolist() for size in sizes]


def expected_nats(model, ids):
    tokens = torch.tensor([[0, *ids[:-1]]])
    logprobs = model(tokens).values[0].detach().log_softmax(-1)
    return -logprobs.gather(1, torch.tensor(ids)[:, None])[:, 0].numpy()


def test_a_uniform_models_perplexity_is_the_vocabulary(tokenizer):
    found = evaluate(uniform(BYTES), tokenizer, documents()).perplexity()
    assert found.value == pytest.approx(BYTES, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((BYTES, BYTES), rel=1e-6)


def test_a_uniform_byte_model_has_eight_bits_per_byte(tokenizer):
    # After a line end it knows that the document ends; after all else any byte is equally likely.
    table = torch.zeros(BYTES, BYTES)
    table[:, 0] = -1e9
    line_end = tokenizer.encode("\n")[0]
    table[line_end] = -1e9
    table[line_end, 0] = 0
    found = evaluate(Bigram(table), tokenizer, documents(["床前明月光\n", "the moon\n"]))
    assert found.bits_per_byte().value == pytest.approx(8, rel=1e-6)


def test_the_documents_end_is_paid_for(tokenizer):
    found = evaluate(uniform(BYTES), tokenizer, documents(["abc"]))
    assert found.bits_per_byte().value == pytest.approx(4 * math.log2(BYTES) / 3)
    assert found.tokens.tolist() == [4]


def test_lost_bytes_pay_eight_bits_each(tokenizer):
    small, mixed = documents(["the moon"]), documents(["The Moon"])
    plain = evaluate(uniform(BYTES), lowercase_tokenizer(), small)
    lossy = evaluate(uniform(BYTES), lowercase_tokenizer(), mixed)
    assert lossy.lost_bytes.tolist() == [2]
    difference = lossy.bits_per_byte().value - plain.bits_per_byte().value
    assert difference == pytest.approx(2 * 8 / 8)
    assert evaluate(uniform(BYTES), tokenizer, mixed).lost_bytes.tolist() == [0]


def test_a_perfect_model_scores_full_marks(tokenizer):
    table = torch.full((BYTES, BYTES), -1e9)
    way = [0, *tokenizer.encode("abcd"), 0]
    for token, following in itertools.pairwise(way):
        table[token, following] = 0
    found = evaluate(Bigram(table), tokenizer, documents(["abcd"] * 3))
    assert (found.accuracy().value, found.perplexity().value, found.bits_per_byte().value) == (1, 1, 0)


@pytest.mark.parametrize("batch_tokens", [1, 16, 100, 8192])
@pytest.mark.parametrize("make", [lambda: Lstm(BYTES), lambda: bigram(BYTES, 1)], ids=["lstm", "bigram"])
def test_how_documents_are_batched_changes_nothing(make, batch_tokens):
    model = make()
    sequences = random_ids([1, 50, 3, 7, 50, 2, 120, 13])
    for ids, (nats, ranks) in zip(sequences, score_ids(model, sequences, 0, batch_tokens), strict=True):
        np.testing.assert_allclose(nats, expected_nats(model, ids), rtol=1e-4, atol=1e-5)
        logits = model(torch.tensor([[0, *ids[:-1]]])).values[0].detach()
        expected = (logits > logits.gather(1, torch.tensor(ids)[:, None])).sum(1)
        assert ranks.tolist() == expected.tolist()


@pytest.mark.parametrize("context", [1, 2, 5, 8])
def test_long_documents_are_strided_and_each_token_is_scored_once(context):
    free, limited = Lstm(BYTES), Lstm(BYTES, context)
    stride = max(1, context // 2)
    sequences = random_ids([1, context - 1, context, context + 1, 3 * context, 41])
    for ids, (nats, _) in zip(sequences, score_ids(limited, sequences, 0), strict=True):
        read = [0, *ids[:-1]]
        for place, token in enumerate(ids):
            # The first window that reaches the place.
            begin = stride * max(0, math.ceil((place + 1 - context) / stride))
            window = read[begin : place + 1]
            assert len(window) == place + 1 or len(window) > context - stride
            expected = -free(torch.tensor([window])).values[0, -1].detach().log_softmax(-1)[token]
            assert nats[place] == pytest.approx(float(expected), rel=1e-4, abs=1e-5)


def test_a_context_that_holds_the_document_changes_nothing():
    sequences = random_ids([5, 9, 10])
    for with_limit, without in zip(
        score_ids(Lstm(BYTES, 10), sequences, 0), score_ids(Lstm(BYTES), sequences, 0), strict=True
    ):
        np.testing.assert_allclose(with_limit[0], without[0], rtol=1e-6)


def test_documents_come_back_in_order_with_their_tokens(tokenizer):
    model = bigram(BYTES, 2)
    scored = list(score(model, tokenizer, documents()))
    assert [one.document.text for one in scored] == TEXTS
    for one in scored:
        assert list(one.ids) == [*tokenizer.encode(one.document.text), 0]
        np.testing.assert_allclose(one.nats, expected_nats(model, one.ids), rtol=1e-4, atol=1e-5)


def test_scoring_streams_its_documents(tokenizer, monkeypatch):
    monkeypatch.setattr("rootlm.evaluation.likelihood._BLOCK_TOKENS", 20)
    drawn = []

    def endless():
        for number in range(10**9):
            drawn.append(number)
            yield Document("abcdefgh", f"endless:{number}")

    scores = score(uniform(BYTES), tokenizer, endless())
    for _ in range(5):
        next(scores)
    assert len(drawn) < 10


@pytest.mark.parametrize(("broken", "word"), [(float("nan"), "no number"), (float("-inf"), "infinite")])
def test_a_broken_score_names_the_document(tokenizer, broken, word):
    table = torch.zeros(BYTES, BYTES)
    table[tokenizer.encode("b")[0], tokenizer.encode("c")[0]] = broken
    with pytest.raises(ValueError, match=rf"poem.txt:2: the cost of token 3 \('c'\) is {word}"):
        evaluate(Bigram(table), tokenizer, documents(["ac", "abc"]))


@pytest.mark.parametrize("texts", [[], [""]])
def test_nothing_to_score_is_an_error(tokenizer, texts):
    with pytest.raises(ValueError, match="no text to score"):
        evaluate(uniform(BYTES), tokenizer, documents(texts))


def test_two_models_are_compared_on_the_same_documents(tokenizer):
    texts = [text * 3 for text in TEXTS if text] * 4
    first, second = (evaluate(bigram(BYTES, seed), tokenizer, documents(texts)) for seed in (1, 2))
    found = compare(first, second)
    assert found.value == pytest.approx(first.bits_per_byte().value - second.bits_per_byte().value)
    same = compare(first, first)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="same documents"):
        compare(first, evaluate(bigram(BYTES, 2), tokenizer, documents(["x"])))


def test_the_model_is_left_in_training_mode(tokenizer):
    model = bigram(BYTES)
    model.train()
    evaluate(model, tokenizer, documents())
    assert model.training


def test_held_out_files_are_read_by_the_text_room(tmp_path):
    (tmp_path / "a.txt").write_text("床前明月光", encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n', encoding="utf-8")
    assert [document.text for document in heldout(tmp_path)] == ["床前明月光", "one", "two"]
    with pytest.raises(ValueError, match="no such file"):
        list(heldout(tmp_path / "c.txt"))
