"""What lm-evaluation-harness asks is answered as scoring and generating by hand would."""

import importlib.util
from types import SimpleNamespace

import pytest
import torch

from rootlm.evaluation.harness import Respondent, adapter
from rootlm.generation.sampling import Sampling
from rootlm.generation.texts import Writer
from toys import Lstm, byte_tokenizer

PAIRS = [("床前", "明月光"), ("", "moon"), ("The ", "moon"), ("a" * 30, "bc")]
TOKENIZER = byte_tokenizer()


def expected(model, context, continuation):
    """Score by reading everything at once."""
    ids = TOKENIZER.encode(context.rstrip() + " " * (len(context) - len(context.rstrip())) + continuation)
    begin = len(TOKENIZER.encode(context.rstrip()))
    logprobs = model(torch.tensor([[0, *ids[:-1]]])).values[0].detach().log_softmax(-1)
    own = logprobs.gather(1, torch.tensor(ids)[:, None])[:, 0]
    return float(own[begin:].sum()), bool((logprobs.argmax(-1)[begin:] == torch.tensor(ids[begin:])).all())


def test_a_continuation_is_scored_after_its_context():
    model = Lstm(257)
    for pair, (logprob, greedy) in zip(PAIRS, Respondent(model, TOKENIZER).continuations(PAIRS), strict=True):
        assert (logprob, greedy) == (
            pytest.approx(expected(model, *pair)[0], abs=1e-3),
            expected(model, *pair)[1],
        )


def test_what_greedy_choice_says_is_called_greedy():
    model = Lstm(257, seed=1)
    ((said,),) = Writer(model, TOKENIZER).generate(["ab"], Sampling(temperature=0, max_new_tokens=6))
    text = TOKENIZER.decode(said.tokens)
    if TOKENIZER.encode(text) == list(said.tokens):
        ((_, greedy),) = Respondent(model, TOKENIZER).continuations([("ab", text)])
        assert greedy


def test_a_long_context_is_cut_at_its_beginning():
    ((logprob, _),) = Respondent(Lstm(257, context=8), TOKENIZER).continuations([("a" * 30, "bc")])
    assert logprob == pytest.approx(expected(Lstm(257), "a" * 6, "bc")[0], abs=1e-4)
    ((long, _),) = Respondent(Lstm(257, context=4), TOKENIZER).continuations([("a", "bcdefghij")])
    assert long < 0


def test_a_whole_text_is_scored_without_its_end():
    model = Lstm(257)
    (found,) = Respondent(model, TOKENIZER).whole_texts(["moon"])
    assert found == pytest.approx(expected(model, "", "moon")[0], abs=1e-4)


def test_answers_keep_their_order_and_settings():
    model = Lstm(257, seed=2)
    requests = [
        ("ab", {"until": ["q"], "max_gen_toks": 5}),
        ("床前", {"until": "q", "max_gen_toks": 9, "do_sample": False, "temperature": 0.0}),
        ("ab", {"until": [], "max_new_tokens": 7, "do_sample": True, "temperature": 0.5}),
    ]
    found = Respondent(model, TOKENIZER).answers(requests)
    by_hand = [
        Sampling(temperature=0, stop="q", max_new_tokens=5),
        Sampling(temperature=0, stop="q", max_new_tokens=9),
        Sampling(temperature=0.5, seed=0, max_new_tokens=7),
    ]
    for text, (prompt, _), sampling in zip(found, requests, by_hand, strict=True):
        assert text == Writer(model, TOKENIZER).generate([prompt], sampling)[0][0].text


def test_a_long_prompt_leaves_room_for_its_answer():
    (text,) = Respondent(Lstm(257, context=20), TOKENIZER).answers([("a" * 50, {"max_gen_toks": 8})])
    assert isinstance(text, str)


def test_the_adapter_speaks_the_harness_language_or_names_its_extra():
    if importlib.util.find_spec("lm_eval") is None:
        with pytest.raises(ValueError, match=r"rootlm\[lm-eval\]"):
            adapter(Lstm(257), TOKENIZER)
        return
    model = adapter(Lstm(257), TOKENIZER)
    asked = [SimpleNamespace(args=pair) for pair in PAIRS]
    assert model.loglikelihood(asked) == Respondent(Lstm(257), TOKENIZER).continuations(PAIRS)
    assert len(model.loglikelihood_rolling([SimpleNamespace(args=("moon",))])) == 1
    assert len(model.generate_until([SimpleNamespace(args=("a", {"until": ["\n"], "max_gen_toks": 4}))])) == 1
