"""Laws of generation, over toy models with a real state; every later model must keep them too."""

from collections import Counter
from functools import partial

import pytest
import torch

from rootlm.generation.beam import search
from rootlm.generation.choosing import choose
from rootlm.generation.decoding import decode
from rootlm.generation.rows import Row, Vocabulary
from rootlm.generation.sampling import Sampling
from rootlm.generation.transforms import Banned, History
from rootlm.models.decoder import DecoderConfig
from toys import Lstm, bigram, uniform

VOCAB = 23


def decoder(preset, context):
    """Return a small Transformer, the same whatever its context, with weights that make up its mind."""
    config = DecoderConfig(preset=preset, depth=2, hidden_size=16, n_heads=2, context=300)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = config.build(VOCAB).eval()
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.5)
    model.context = context or 300
    return model


PROMPTS = [[0, 4, 5], [0], [0, 9, 2, 7, 7, 1], [0, 4, 5, 6]]
ENDS = Vocabulary(end_ids=frozenset([1]))
ENDLESS = Vocabulary()
MODELS = {
    "bigram": lambda context: bigram(VOCAB, 3, context),
    "lstm": lambda context: Lstm(VOCAB, context),
    **{preset: partial(decoder, preset) for preset in ("gpt2", "llama", "qwen3")},
}
GREEDY = Sampling(temperature=0, max_new_tokens=20)
SETTINGS = {
    "greedy": GREEDY,
    "sampled": Sampling(seed=5, max_new_tokens=20),
    "narrowed": Sampling(seed=5, max_new_tokens=20, temperature=1.5, top_k=9, top_p=0.9, min_p=0.01),
    "penalised": Sampling(
        seed=5, max_new_tokens=20, repetition_penalty=1.3, frequency_penalty=0.2, presence_penalty=0.2
    ),
    "several": Sampling(seed=5, max_new_tokens=20, n=3),
}


@pytest.fixture(params=MODELS)
def make(request):
    return MODELS[request.param]


@pytest.fixture
def model(make):
    return make(None)


def write(model, prompts, sampling, vocabulary=ENDS):
    """Return (prompt, tokens, reason) of every row, and the rows' log-probabilities."""
    rows = []
    for number, grown in enumerate(decode(model, prompts, sampling, vocabulary)):
        rows = list(grown) if number == 0 else rows
    return rows


def told(rows):
    return [(tuple(row.tokens), row.finish_reason) for row in rows]


@pytest.mark.parametrize("name", SETTINGS)
def test_rows_do_not_see_each_other(model, name):
    ends = Vocabulary(end_ids=frozenset([1, 3, 8, 14]))
    together = told(write(model, PROMPTS, SETTINGS[name], ends))
    alone = [text for prompt in PROMPTS for text in told(write(model, [prompt], SETTINGS[name], ends))]
    assert together == alone
    assert name == "greedy" or len({len(tokens) for tokens, _ in together}) > 1


@pytest.mark.parametrize("name", SETTINGS)
def test_the_same_seed_says_the_same(model, name):
    assert told(write(model, PROMPTS, SETTINGS[name])) == told(write(model, PROMPTS, SETTINGS[name]))


def test_another_seed_says_something_else(model):
    first, second = (write(model, PROMPTS, Sampling(seed=seed)) for seed in (1, 2))
    assert told(first) != told(second)


def test_a_rows_seed_writes_it_again_alone(model):
    for row in write(model, [PROMPTS[0]], SETTINGS["several"]):
        again = Sampling(seed=row.seed, max_new_tokens=20)
        assert told(write(model, [PROMPTS[0]], again)) == told([row])


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1e-4, max_new_tokens=20, seed=3),
        Sampling(top_k=1, max_new_tokens=20, seed=3),
        Sampling(top_k=1, temperature=3.0, max_new_tokens=20, seed=4),
        Sampling(top_p=1e-6, max_new_tokens=20, seed=3),
        Sampling(min_p=1.0, max_new_tokens=20, seed=3),
    ],
    ids=["temperature to 0", "top-1", "hot top-1", "top-p to 0", "min-p 1"],
)
def test_the_narrowest_sampling_is_greedy(model, sampling):
    assert told(write(model, PROMPTS, sampling)) == told(write(model, PROMPTS, GREEDY))


@pytest.mark.parametrize(
    "wide", [{"top_p": 1.0}, {"top_k": VOCAB}, {"min_p": 0.0}, {"repetition_penalty": 1.0}]
)
def test_the_widest_setting_changes_nothing(model, wide):
    plain = Sampling(seed=8, max_new_tokens=30)
    assert told(write(model, PROMPTS, plain.model_copy(update=wide))) == told(write(model, PROMPTS, plain))


def test_greedy_equals_reading_the_whole_text_again_for_every_token(model):
    for row in write(model, PROMPTS, GREEDY):
        ids = list(row.prompt_ids)
        for token, logprob in zip(row.tokens, row.logprobs, strict=True):
            logits = model(torch.tensor([ids])).values[0, -1].detach()
            assert token == int(logits.argmax())
            assert logprob == pytest.approx(float(logits.log_softmax(-1)[token]), abs=1e-5)
            ids.append(token)


@pytest.mark.parametrize("name", ["narrowed", "penalised"])
def test_log_probabilities_are_the_models_own(model, name):
    for row in write(model, PROMPTS, SETTINGS[name]):
        ids = torch.tensor([[*row.prompt_ids, *row.tokens]])
        logprobs = model(ids[:, :-1]).values[0].log_softmax(-1)
        expected = logprobs.gather(1, ids[0, 1:, None])[-len(row.tokens) :, 0]
        torch.testing.assert_close(torch.tensor(row.logprobs), expected, rtol=1e-4, atol=1e-5)


def test_sampled_frequencies_match_the_distribution():
    model = bigram(VOCAB, 11)
    draws = 4000
    rows = write(model, [[0]], Sampling(max_new_tokens=1, n=draws, seed=1, temperature=0.8), ENDLESS)
    counts = Counter(row.tokens[0] for row in rows)
    expected = draws * (model.table[0].detach() / 0.8).softmax(-1)
    likely = expected > 5
    seen = torch.tensor([float(counts[token]) for token in range(VOCAB)])
    chi_square = float(((seen - expected) ** 2 / expected)[likely].sum())
    # Its mean is the degrees of freedom, its variance twice that; five deviations above is one in a million.
    freedom = int(likely.sum()) - 1
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53])
def test_the_edges_of_chance_never_say_what_is_ruled_out(draw):
    row = Row(0, [0], 0)
    row.draw = lambda: draw
    banned = Banned.ids([0, 1, VOCAB - 1], VOCAB, torch.device("cpu"))
    history = History([[0]], [[]], VOCAB, torch.device("cpu"))
    for scale in (0.0, 1.0, 30.0):
        logits = scale * torch.randn(1, VOCAB, generator=torch.Generator().manual_seed(1))
        chosen = choose(logits, [banned], history, [row], greedy=False)
        assert int(chosen) in range(2, VOCAB - 1)


def test_penalties_come_from_prompt_and_text():
    model = uniform(VOCAB)
    rows = write(
        model, [[0, 1, 2]], Sampling(temperature=0, presence_penalty=1, max_new_tokens=VOCAB), ENDLESS
    )
    assert sorted(rows[0].tokens) == list(range(VOCAB))


def test_banned_tokens_are_never_said():
    banned = Vocabulary(banned_ids=frozenset(range(3, VOCAB)))
    for row in write(uniform(VOCAB), [[0]], Sampling(n=20, seed=0, max_new_tokens=50), banned):
        assert set(row.tokens) == {0, 1, 2}


def test_a_row_ends_by_its_end_token_which_is_the_last_chosen(model):
    rows = write(model, PROMPTS, Sampling(seed=2, n=10, max_new_tokens=200))
    ended = [row for row in rows if row.finish_reason == "stop"]
    assert ended
    for row in ended:
        assert row.tokens[-1] == 1
        assert 1 not in row.tokens[:-1]
        assert len(row.tokens) == len(row.logprobs)


def test_a_full_context_ends_a_row_and_says_so(make):
    model = make(8)
    rows = write(model, PROMPTS, Sampling(temperature=0, max_new_tokens=50), ENDLESS)
    free = write(make(None), PROMPTS, Sampling(temperature=0, max_new_tokens=50), ENDLESS)
    for row, unlimited in zip(rows, free, strict=True):
        assert row.finish_reason == "context"
        assert len(row.prompt_ids) + len(row.tokens) == 9
        assert row.tokens == unlimited.tokens[: len(row.tokens)]


def test_a_prompt_as_long_as_the_context_gets_one_token(make):
    (row,) = write(make(4), [[0, 1, 2, 3]], Sampling(temperature=0), ENDLESS)
    assert (len(row.tokens), row.finish_reason) == (1, "context")


def test_sliding_reads_the_last_half_again(make):
    model = make(6)
    sampling = Sampling(temperature=0, max_new_tokens=25, on_full="slide")
    rows = write(model, PROMPTS, sampling, ENDLESS)
    for row in rows:
        assert (len(row.tokens), row.finish_reason) == (25, "length")
        window = list(row.prompt_ids)
        for token in row.tokens:
            window = window[-3:] if len(window) > 6 else window
            assert token == int(model(torch.tensor([window])).values[0, -1].argmax())
            window.append(token)
    assert told(rows) == [told(write(model, [prompt], sampling, ENDLESS))[0] for prompt in PROMPTS]


@pytest.mark.parametrize(
    ("prompts", "part"),
    [([[0] * 9], "prompt 1 has 9 tokens, the begin token included, and the model reads at most 8"),
     ([[0], []], "prompt 2 holds no token"), ([], "no prompt was given")],
)  # fmt: skip
def test_impossible_prompts_are_refused(make, prompts, part):
    for run in (lambda *given: list(decode(*given)), search):
        with pytest.raises(ValueError, match=part):
            run(make(8), prompts, GREEDY, ENDS)


def test_stop_strings_without_a_tokenizer_are_refused(model):
    with pytest.raises(ValueError, match="need a tokenizer"):
        list(decode(model, PROMPTS, Sampling(stop="a"), ENDS))


def test_the_model_is_left_as_it_was_also_when_the_reader_leaves(model):
    model.train()
    steps = decode(model, PROMPTS, GREEDY, ENDS)
    next(steps)
    assert not model.training
    assert not torch.is_inference_mode_enabled()
    steps.close()
    assert model.training


@pytest.mark.parametrize("name", ["greedy", "penalised"])
def test_a_beam_of_one_is_greedy(model, name):
    sampling = SETTINGS[name].model_copy(update={"temperature": 0.0, "num_beams": 1})
    beams = [rows[0] for rows in search(model, PROMPTS, sampling, ENDS)]
    greedy = write(model, PROMPTS, sampling)
    assert told(beams) == told(greedy)
    for beam, row in zip(beams, greedy, strict=True):
        assert beam.logprobs == pytest.approx(row.logprobs, abs=1e-5)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_a_beam_as_wide_as_the_tree_finds_the_best_text(penalty):
    model, length = Lstm(4, seed=2), 4
    sampling = Sampling(num_beams=4**length, n=5, max_new_tokens=length, length_penalty=penalty)
    (found,) = search(model, [[0, 2]], sampling, ENDS)

    def texts(tokens):
        if tokens and (tokens[-1] == 1 or len(tokens) == length):
            yield tokens
            return
        for token in range(4):
            yield from texts([*tokens, token])

    def score(tokens):
        ids = torch.tensor([[0, 2, *tokens]])
        logprobs = model(ids[:, :-1]).values[0].log_softmax(-1).gather(1, ids[0, 1:, None])
        return logprobs[-len(tokens) :].sum().item() / len(tokens) ** penalty

    best = sorted(texts([]), key=score, reverse=True)[:5]
    assert [row.tokens for row in found] == best
    for row in found:
        said = sum(row.logprobs) / len(row.tokens) ** penalty
        assert said == pytest.approx(score(row.tokens), abs=1e-4)


def test_beams_do_not_see_other_prompts(model):
    sampling = Sampling(num_beams=3, n=3, max_new_tokens=10)
    together = [told(rows) for rows in search(model, PROMPTS, sampling, ENDS)]
    alone = [told(search(model, [prompt], sampling, ENDS)[0]) for prompt in PROMPTS]
    assert together == alone


def test_beams_stop_at_a_full_context(make):
    ((row, _),) = search(make(8), [[0, 4]], Sampling(num_beams=3, n=2, max_new_tokens=99), ENDLESS)
    assert (len(row.tokens), row.finish_reason) == (7, "context")
