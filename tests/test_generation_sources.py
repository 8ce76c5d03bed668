"""Writing after a source: a state that has read one is given, and nothing else is special."""

import itertools
import math

import pytest
import torch
from transformers import NoRepeatNGramLogitsProcessor

from members import CONFIGS, CONTEXT, randomise
from rootlm.generation.attention_picture import attention_picture
from rootlm.generation.beam import search
from rootlm.generation.decoding import decode
from rootlm.generation.rows import Vocabulary
from rootlm.generation.sampling import Sampling
from rootlm.generation.texts import Writer
from rootlm.generation.transforms import History, NoRepeatedNgrams
from rootlm.models.interface import Source, SourceModel
from toys import bigram, byte_tokenizer

NAMES = [name for name, config in CONFIGS.items() if "encoder_decoder" in config.kind]
VOCABULARY = 7
ENDS = Vocabulary(end_ids=frozenset([1]))
SOURCES, LENGTHS = torch.tensor([[2, 3, 4, 5, 6], [5, 1, 0, 0, 0], [6, 2, 4, 0, 0]]), torch.tensor([5, 2, 3])
GREEDY = Sampling(temperature=0, max_new_tokens=8)


@pytest.fixture(params=NAMES)
def model(request) -> SourceModel:
    return untied(request.param)


def untied(name, vocab_size=VOCABULARY):
    """A member whose head is not its embedding, or it would mostly repeat what it reads."""
    config = CONFIGS[name].model_copy(update={"tied": False})
    return randomise(config.build(vocab_size), 4).eval()


@torch.no_grad()
def logprobs(model, row, tokens):
    """What the model says of every next token when it reads source and target anew."""
    source = Source(SOURCES[row : row + 1, : LENGTHS[row]])
    return model(torch.tensor([[0, *tokens]]), source=source).values[0].log_softmax(-1)


def written(model, sampling, **how):
    rows = {}
    state = model.read(SOURCES, LENGTHS)
    for grown in decode(model, [[0]] * 3, sampling, ENDS, state):
        rows |= {(row.prompt, row.seed): row for row in grown}
    return rows


def test_greedy_writing_after_a_source_equals_reading_everything_anew(model):
    rows = {prompt: row.tokens for (prompt, _), row in written(model, GREEDY).items()}
    for prompt, tokens in rows.items():
        expected = []
        while len(expected) < 8 and (not expected or expected[-1] != 1):
            expected.append(int(logprobs(model, prompt, expected)[-1].argmax()))
        assert tokens == expected
    assert not torch.allclose(logprobs(model, 0, []), logprobs(model, 2, []), atol=0.01)


def test_several_samples_of_a_source_are_those_it_gives_alone(model):
    sampling = Sampling(n=2, seed=5, max_new_tokens=6)
    together = written(model, sampling)
    for row in range(3):
        alone = {}
        for grown in decode(model, [[0]], sampling, ENDS, model.read(SOURCES[row : row + 1, : LENGTHS[row]])):
            alone |= {one.seed: one.tokens for one in grown}
        assert alone == {seed: one.tokens for (prompt, seed), one in together.items() if prompt == row}


def test_a_beam_of_one_is_greedy(model):
    found = search(model, [[0]] * 3, Sampling(max_new_tokens=8), ENDS, model.read(SOURCES, LENGTHS))
    greedy = {prompt: row.tokens for (prompt, _), row in written(model, GREEDY).items()}
    assert [row.tokens for (row,) in found] == [greedy[row] for row in range(3)]


@pytest.mark.parametrize("coverage", [0.0, 0.7])
def test_a_wide_beam_finds_the_best_of_all_texts(model, coverage):
    """Every text of up to two tokens, scored by the formulas of Wu et al. (2016)."""
    settings = Sampling(num_beams=50, n=3, max_new_tokens=2, length_penalty=0.6, coverage_penalty=coverage)
    found = search(model, [[0]] * 3, settings, ENDS, model.read(SOURCES, LENGTHS))
    for row, best in enumerate(found):
        source = Source(SOURCES[row : row + 1, : LENGTHS[row]])
        scored = []
        for first, second in itertools.product(range(VOCABULARY), repeat=2):
            tokens = [1] if first == 1 else [first, second]
            said = logprobs(model, row, tokens)
            total = sum(float(said[place, token]) for place, token in enumerate(tokens))
            with torch.no_grad():
                heard = model.attention(source, torch.tensor([[0, *tokens[:-1]]]))[0].mean(0).sum(0)
            missed = sum(math.log(min(1.0, float(share))) for share in heard)
            scored.append((total / len(tokens) ** 0.6 + coverage * missed, tokens))
        expected = [tokens for _, tokens in sorted(scored, reverse=True)]
        assert [one.tokens for one in best] == list(map(list, dict.fromkeys(map(tuple, expected))))[:3]


def test_texts_that_lead_back_to_their_source_come_first():
    """The formula of Yee et al. (2019) over all that a beam has found, read anew in both directions."""
    model, tokenizer = untied("transformer", byte_tokenizer().vocab_size), byte_tokenizer()
    sources = ["moon", "ab"]
    beams = Sampling(num_beams=4, n=4, max_new_tokens=5, length_penalty=0.7)
    plain = Writer(model, tokenizer).answer(sources, beams)
    weighed = Writer(model, tokenizer).answer(sources, beams.changed({"reverse_weight": 3.0, "n": 2}))
    changed = 0
    for source, found, best in zip(sources, plain, weighed, strict=True):
        read, scored = [*tokenizer.encode(source), tokenizer.eos_id], []
        for one in found:
            ids = [token for token in one.tokens if token != tokenizer.eos_id]
            with torch.no_grad():
                said = (
                    model(
                        torch.tensor([[tokenizer.bos_id, *read[:-1]]]),
                        source=Source(torch.tensor([[*ids, tokenizer.eos_id]])),
                    )
                    .values[0]
                    .log_softmax(-1)
                )
            back = float(said[torch.arange(len(read)), torch.tensor(read)].sum())
            scored.append(((sum(one.logprobs) + 3.0 * back) / len(one.tokens) ** 0.7, one.tokens))
        expected = [tokens for _, tokens in sorted(scored, reverse=True)][:2]
        assert [one.tokens for one in best] == expected
        changed += expected != [one.tokens for one in found][:2]
    assert changed
    with pytest.raises(ValueError, match="reverse_weight compares beams; set num_beams=4"):
        Sampling(reverse_weight=0.2)


def test_coverage_is_for_models_that_attend(model):
    with pytest.raises(ValueError, match="coverage_penalty is for models that attend to a source"):
        search(bigram(VOCABULARY), [[0]], Sampling(num_beams=2, coverage_penalty=0.2), ENDS)


def test_sliding_does_not_forget_the_source():
    model, window = untied("transformer"), math.ceil(CONTEXT / 2)
    sampling = Sampling(temperature=0, max_new_tokens=CONTEXT + 5, on_full="slide")
    for row in range(3):
        source = Source(SOURCES[row : row + 1])
        *_, (last,) = decode(model, [[0]], sampling, Vocabulary(), model.read(source.ids))
        # The first token after the context was full: the last half was read anew, after the same source.
        read = torch.tensor([last.tokens[CONTEXT - window : CONTEXT]])
        with torch.no_grad():
            heard, alone = model(read, source=source).values[0, -1], model(read).values[0, -1]
        assert last.tokens[CONTEXT] == int(heard.argmax())
        assert not torch.allclose(heard, alone, atol=0.01)


def test_no_ngram_stands_twice_as_in_transformers():
    generator = torch.Generator().manual_seed(1)
    for size in (1, 2, 3):
        ids = torch.randint(0, 4, (5, 9), generator=generator)
        logits = torch.randn(5, 12, generator=generator)
        expected = NoRepeatNGramLogitsProcessor(size)(ids, logits.clone())
        rows = ids.tolist()
        history = History([row[:4] for row in rows], [row[4:] for row in rows], 12, ids.device)
        assert torch.equal(NoRepeatedNgrams(size)(logits, history), expected)
    short = History([[0]], [[1]], 12, ids.device)
    assert torch.equal(NoRepeatedNgrams(4)(logits[:1], short), logits[:1])


def test_what_must_not_stand_twice_does_not(model):
    sampling = Sampling(temperature=0, max_new_tokens=20, no_repeat_ngram_size=2)
    for row in written(model, sampling).values():
        pairs = list(itertools.pairwise([0, *row.tokens]))
        assert len(pairs) == len(set(pairs))


@torch.no_grad()
def test_attention_is_shared_out_among_real_places(model):
    shares = model.attention(Source(SOURCES, LENGTHS), torch.tensor([[0, 2, 3, 4]] * 3))
    assert shares.shape[0] == 3
    assert shares.shape[2:] == (4, 5)
    torch.testing.assert_close(shares.sum(-1), torch.ones(shares.shape[:3]))
    assert not shares[1, ..., 2:].any()
    state = model.read(SOURCES, LENGTHS)
    heard = model(torch.tensor([[0, 2, 3, 4]] * 3), state).attention
    torch.testing.assert_close(heard, shares.mean(1), rtol=1e-4, atol=1e-5)


def test_the_picture_shows_whole_characters():
    tokenizer = byte_tokenizer()
    model = randomise(CONFIGS["transformer"].build(tokenizer.vocab_size)).eval()
    picture = attention_picture(model, tokenizer, "月光 <", "moon")
    for piece in ("月", "光", "&lt;", "m", "■"):
        assert f">{piece}</text>" in picture
    assert picture.count("<title>") == 5 * 5
    assert "\ufffd" not in picture


def test_writers_answer_texts_and_refuse_what_they_cannot_read():
    tokenizer = byte_tokenizer()
    model = randomise(CONFIGS["t5"].build(tokenizer.vocab_size)).eval()
    writer = Writer(model, tokenizer)
    sources = ["moon", "a", "月光明"]
    together = writer.answer(sources, GREEDY)
    assert [one.prompt for (one,) in together] == sources
    assert [one.tokens for (one,) in together] == [writer.answer([s], GREEDY)[0][0].tokens for s in sources]
    with pytest.raises(ValueError, match="source 2 is empty: there is nothing to read"):
        writer.answer(["a", " "], GREEDY)
    with pytest.raises(ValueError, match=f"source 1 has {CONTEXT + 1} tokens, .* reads at most {CONTEXT}"):
        writer.answer(["x" * CONTEXT], GREEDY)
    with pytest.raises(ValueError, match="reads no source; name the run of an encoder–decoder"):
        Writer(randomise(CONFIGS["gpt2"].build(tokenizer.vocab_size)), tokenizer).answer(["a"], GREEDY)


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_a_source_hears_nothing_of_the_others(name):
    model = randomise(CONFIGS[name].build(VOCABULARY)).eval()
    tokens = torch.tensor([[0, 2, 3]] * 4)
    state = model.begin(1).join(model.read(SOURCES, LENGTHS))
    found = model(tokens, state).values
    torch.testing.assert_close(found[:1], model(tokens[:1]).values, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        found[1:], model(tokens[1:], source=Source(SOURCES, LENGTHS)).values, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_source_is_refused(name):
    model = CONFIGS[name].build(VOCABULARY)
    for source, lengths, number in (
        (torch.zeros(2, 0, dtype=torch.int64), None, 1),
        (SOURCES, LENGTHS - 2, 2),
    ):
        with pytest.raises(ValueError, match=f"source {number} is empty: there is nothing to read"):
            model.read(source, lengths)
