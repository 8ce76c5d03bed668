"""Guessing ahead changes how fast a text is written, never which: the laws of speculative decoding."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from itertools import product

import pytest
import torch

from members import MEMBERS, VOCABULARY, randomise
from rootlm.generation import choosing, decoding
from rootlm.generation.choosing import Offer, choose
from rootlm.generation.decoding import decode
from rootlm.generation.rows import Row, Vocabulary
from rootlm.generation.sampling import DraftConfig, LookUpConfig, Sampling, to_generation_config
from rootlm.generation.speculation import LookUp
from rootlm.generation.texts import Writer
from rootlm.generation.transforms import History
from rootlm.layers.positions import RotaryConfig
from rootlm.layers.rotary_scaling import LongRopeScaling
from rootlm.models.decoder import DecoderConfig
from toys import Lstm, bigram, byte_tokenizer, uniform

ENDS = Vocabulary(end_ids=frozenset([1]))
ENDLESS = Vocabulary()
PROMPTS = [[0, 4, 5, 6, 4, 5], [0], [0, 9, 2, 7, 7, 7, 7], [0, 4, 5, 6, 4, 5, 6, 4]]
LOOKUP = LookUpConfig(tokens=5, ngram=1)
DRAFT = DraftConfig(model="draft", tokens=3)
KINDS = {"lookup": LOOKUP, "draft": DRAFT}
SETTINGS = {
    "greedy": Sampling(temperature=0, max_new_tokens=24),
    "several": Sampling(seed=5, max_new_tokens=24, temperature=0.6, top_p=0.9, n=2, frequency_penalty=0.1),
    "sliding": Sampling(temperature=0, max_new_tokens=60, on_full="slide", repetition_penalty=1.1),
}
SAMPLED = {
    "plain": Sampling(max_new_tokens=3, n=8000, seed=1),
    "narrowed": Sampling(max_new_tokens=3, n=8000, seed=1, temperature=0.7, top_k=3, top_p=0.95),
    "penalised": Sampling(max_new_tokens=3, n=8000, seed=1, repetition_penalty=1.5, frequency_penalty=0.5),
}


def write(model, prompts, sampling, vocabulary=ENDS, draft=None):
    rows = []
    for number, grown in enumerate(decode(model, prompts, sampling, vocabulary, draft=draft)):
        rows = list(grown) if number == 0 else rows
    return rows


def told(rows):
    return [(tuple(row.tokens), row.finish_reason) for row in rows]


def noisy(model, seed=3):
    """Return a bigram draft that is often, not always, right about another bigram model."""
    draft = bigram(model.vocab_size, 1)
    generator = torch.Generator().manual_seed(seed)
    draft.table.data = model.table.data + 0.7 * torch.randn(model.table.shape, generator=generator)
    return draft


def guessing(sampling, kind):
    return sampling.model_copy(update={"speculate": KINDS[kind]})


@pytest.fixture(params=MEMBERS)
def member(request):
    # In float64 it makes no difference how many tokens are read at once.
    return MEMBERS[request.param]().double()


@pytest.mark.parametrize("name", SETTINGS)
def test_every_member_says_the_same_when_it_looks_up(member, name):
    plain = write(member, PROMPTS, SETTINGS[name])
    ahead = write(member, PROMPTS, guessing(SETTINGS[name], "lookup"))
    assert told(ahead) == told(plain)
    for one, other in zip(ahead, plain, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    assert sum(row.guessed for row in ahead)


@pytest.mark.parametrize("name", ["greedy", "sliding"])
def test_every_member_says_the_same_when_it_is_its_own_draft(member, name):
    plain = write(member, PROMPTS, SETTINGS[name])
    ahead = write(member, PROMPTS, guessing(SETTINGS[name], "draft"), draft=member)
    assert told(ahead) == told(plain)
    # What it would say itself holds, but for what would stand behind an end and what a window has forgotten.
    assert sum(row.held for row in ahead) > 0.8 * sum(row.guessed for row in ahead)
    # A reading gives what held and one token more, unless what held was the end.
    assert all(row.readings + row.held - len(row.tokens) in (0, 1) for row in ahead)


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in SETTINGS for kind in KINDS if SETTINGS[name].greedy or kind == "lookup"],
)
def test_guesses_that_fail_have_not_made_a_text_long(name, kind):
    """Where a long text is another one from its beginning on."""
    scaling = LongRopeScaling(short_factor=(1.0, 1.2), long_factor=(3.0, 9.0), original=14)
    shape = {"depth": 2, "hidden_size": 16, "n_heads": 4, "head_size": 4, "context": 24}
    config = DecoderConfig(preset="llama", position=RotaryConfig(scaling=scaling, theta=50.0), **shape)
    model = randomise(config.build(VOCABULARY)).double()
    plain = write(model, PROMPTS, SETTINGS[name], ENDLESS)
    ahead = write(model, PROMPTS, guessing(SETTINGS[name], kind), ENDLESS, draft=noisy_of(model))
    assert told(ahead) == told(plain)
    assert sum(row.guessed for row in ahead) > sum(row.held for row in ahead)


def noisy_of(model):
    """Return a draft that is often right about a model."""
    draft = deepcopy(model)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        draft.head.weight.add_(torch.randn(draft.head.weight.shape, generator=generator) * 0.1)
    return draft


def chi_square(model, prompt, sampling, draft):
    """Return how far the texts of three tokens are from their exact distribution, in deviations of chi square."""
    model, draft = model.double(), draft and draft.double()
    rows = write(model, [prompt], sampling, ENDLESS, draft)
    counts = Counter(tuple(row.tokens) for row in rows)
    transforms = decoding.all_transforms(model, sampling, ENDLESS)
    expected, total = {}, len(rows)
    vocabulary = range(model.vocab_size)
    for text in product(vocabulary, repeat=3):
        probability = 1.0
        for place, token in enumerate(text):
            said = list(text[:place])
            history = History([prompt], [said], model.vocab_size, torch.device("cpu"))
            logits = model(torch.tensor([[*prompt, *said]])).values[:, -1].detach()
            probability *= float(choosing.shares_of(logits, transforms, history)[0, token])
        expected[text] = probability * total
    assert sum(expected.values()) == pytest.approx(total)
    assert not [text for text in counts if expected[text] == 0]
    likely = [text for text in expected if expected[text] > 5]
    found = sum((counts[text] - expected[text]) ** 2 / expected[text] for text in likely)
    return (found - len(likely) + 1) / (2 * (len(likely) - 1)) ** 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SAMPLED)
def test_texts_are_distributed_as_without(name, kind):
    model, draft = Lstm(4, seed=2), Lstm(4, seed=5)
    assert chi_square(model, [0, 2, 1, 2], guessing(SAMPLED[name], kind), draft) < 5


def test_the_law_of_distribution_sees_a_residual_that_is_none(monkeypatch):
    whole = choosing.drawn

    def broken(shares, rows):
        # A refused row draws from all of p instead of from what p has above q.
        full = shares.sum(-1, keepdim=True) > 0.999
        return whole(torch.where(full, shares, (shares > 0) / 4), rows)

    monkeypatch.setattr(choosing, "drawn", broken)
    sampling = guessing(SAMPLED["plain"], "draft")
    assert chi_square(Lstm(4, seed=2), [0, 2, 1, 2], sampling, Lstm(4, seed=5)) > 5


def test_an_offered_token_stands_as_often_as_two_distributions_overlap():
    generator = torch.Generator().manual_seed(0)
    p, q = torch.randn(2, 9, generator=generator).softmax(-1)
    count = 20_000
    rows = [Row(0, [0], 0) for _ in range(count)]
    for number, row in enumerate(rows):
        row.draw = iter(torch.rand(2, generator=torch.Generator().manual_seed(number)).tolist()).__next__
    offered = torch.multinomial(q, count, replacement=True, generator=generator)
    history = History([[0]] * count, [[]] * count, 9, torch.device("cpu"))
    offer = Offer(offered, q.expand(count, -1))
    chosen = choose(p.log().expand(count, -1), [], history, rows, greedy=False, offer=offer)
    frequencies = torch.bincount(chosen, minlength=9) / count
    torch.testing.assert_close(frequencies, p, rtol=0, atol=5 * 0.5 / count**0.5)
    overlap = torch.minimum(p, q).sum()
    assert float((chosen == offered).float().mean()) == pytest.approx(float(overlap), abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_says_the_same_alone_and_again(kind):
    model = bigram(VOCABULARY, 3)
    draft = noisy(model)
    sampling = guessing(Sampling(seed=5, max_new_tokens=24, n=2, frequency_penalty=0.2), kind)
    together = write(model, PROMPTS, sampling, draft=draft)
    assert told(together) == told(write(model, PROMPTS, sampling, draft=draft))
    for row in together:
        alone = sampling.model_copy(update={"n": 1, "seed": row.seed})
        assert told(write(model, [row.prompt_ids], alone, draft=draft)) == told([row])
    assert 0 < sum(row.held for row in together) < sum(row.guessed for row in together)
    assert len({row.held for row in together}) > 2


def test_what_is_looked_up_says_the_same_with_the_same_seed_as_without():
    sampling = Sampling(seed=5, max_new_tokens=24)
    model = bigram(VOCABULARY, 3)
    assert told(write(model, PROMPTS, guessing(sampling, "lookup"))) == told(write(model, PROMPTS, sampling))


@pytest.mark.parametrize("size", [VOCABULARY - 9, VOCABULARY + 7])
def test_a_draft_of_another_context_and_table_changes_nothing(size):
    model, known = bigram(VOCABULARY, 3), VOCABULARY - 9
    vocabulary = Vocabulary(banned_ids=frozenset(range(known, VOCABULARY)))
    draft = bigram(size, 4, context=15)
    draft.table.data[:known, :known] = model.table.data[:known, :known]
    rows = write(model, PROMPTS, guessing(SETTINGS["greedy"], "draft"), vocabulary, draft)
    assert told(rows) == told(write(model, PROMPTS, SETTINGS["greedy"], vocabulary))
    assert all(0 < row.guessed < 20 for row in rows)


def test_a_draft_that_lacks_ids_is_refused():
    with pytest.raises(ValueError, match="does not know id 41; name a draft with the same tokenizer"):
        write(bigram(VOCABULARY), PROMPTS, guessing(SETTINGS["greedy"], "draft"), draft=bigram(41))


def test_text_that_repeats_itself_takes_few_readings():
    model = uniform(VOCABULARY)
    model.table.data[torch.arange(VOCABULARY), torch.arange(VOCABULARY).roll(-1) % 7] = 9.0
    model.table.data[6, 0] = 20.0
    speculate = LookUpConfig(tokens=8, ngram=3)
    sampling = Sampling(temperature=0, max_new_tokens=90, speculate=speculate)
    (row,) = write(model, [[0]], sampling, ENDLESS)
    assert row.readings < 25
    assert len(row.tokens) == 90


def test_a_look_up_goes_on_from_itself():
    row = Row(0, [5, 1, 2, 3, 4, 1, 2], 0)
    history = History([], [], 9, torch.device("cpu"))
    look = LookUp(6, 2)
    assert look.guess([row], [6], history).tokens == [[3, 4, 1, 2, 3, 4]]
    assert look.guess([row], [2], history).tokens == [[3, 4]]
    assert look.guess([row], [0], history).tokens == [[]]
    row.tokens += [7, 7]
    assert look.guess([row], [6], history).tokens == [[]]
    row.tokens += [7]
    assert look.guess([row], [3], history).tokens == [[7, 7, 7]]


def spoken(tokenizer):
    """Return a model that says the bytes of a line again and again."""
    model = uniform(tokenizer.vocab_size)
    line = tokenizer.encode("床前明月光，abc\n")
    for before, after in zip(line, [*line[1:], line[0]], strict=True):
        model.table.data[before, after] = 6.0
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop", [(), ("bc",), ("c\n床前",)])
def test_stops_streams_and_limits_work_as_before(kind, stop):
    tokenizer = byte_tokenizer()
    model = spoken(tokenizer)
    writer = Writer(model, tokenizer, draft=noisy(model))
    sampling = Sampling(temperature=0, max_new_tokens=80, stop=stop)
    (plain,), (ahead,) = (writer.generate(["月"], one)[0] for one in (sampling, guessing(sampling, kind)))
    assert ahead.readings < plain.readings == len(plain.tokens)
    same = replace(ahead, readings=plain.readings, guessed=0, held=0, logprobs=())
    assert same == replace(plain, logprobs=())
    assert ahead.logprobs == pytest.approx(plain.logprobs, abs=1e-5)
    *pieces, whole = writer.stream("月", guessing(sampling, kind))
    assert "".join(pieces) == whole.text == plain.text
    assert pieces == list(writer.stream("月", sampling))[:-1]


def test_a_draft_that_nobody_opened_and_beams_are_refused():
    with pytest.raises(ValueError, match=r"speculate\.model=draft is not opened here"):
        write(uniform(9), [[0]], Sampling(speculate=DRAFT))
    with pytest.raises(ValueError, match="beams are not guessed ahead"):
        Sampling(num_beams=2, speculate=LOOKUP)


def test_other_programs_are_told_nothing_of_it():
    assert "speculate" not in to_generation_config(Sampling(speculate=LOOKUP))


def test_rows_end_where_a_context_does():
    model, plain = bigram(VOCABULARY, 3, context=20), Sampling(temperature=0, max_new_tokens=99)
    for kind in KINDS:
        rows = write(model, PROMPTS, guessing(plain, kind), ENDLESS, noisy(model))
        assert told(rows) == told(write(model, PROMPTS, plain, ENDLESS))
        assert {row.finish_reason for row in rows} == {"context"}


def test_a_draft_counts_what_it_has_guessed():
    model = uniform(VOCABULARY)
    sampling = Sampling(temperature=0, presence_penalty=1, max_new_tokens=32)
    (row,) = write(model, [[0]], guessing(sampling, "draft"), ENDLESS, model)
    assert row.held == row.guessed > 0
