"""Beam search, greedy and log-probabilities equal those of transformers, on a model of theirs read as ours."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from members import build
from rootlm.generation.beam import search
from rootlm.generation.decoding import decode
from rootlm.generation.rows import Vocabulary
from rootlm.generation.sampling import Sampling
from rootlm.models.interface import LanguageModel, Prediction, SiblingState
from toys import answer

VOCAB = 19
ENDS = Vocabulary(end_ids=frozenset([1, 8, 9]))
PROMPTS = [[0, 5, 7], [0, 2, 2], [0, 18, 4]]


@dataclass
class Read:
    """All that each row has read, (rows, time); every row is equally long."""

    tokens: Tensor

    def select(self, rows):
        return Read(self.tokens[rows])


class Rereading(LanguageModel):
    """A model that reads everything again for each token: `read` gives the logits of whole texts."""

    def __init__(self, read, vocab_size):
        super().__init__()
        self.read, self.vocab_size, self.context = read, vocab_size, None
        self.anchor = torch.nn.Parameter(torch.zeros(1))

    def begin(self, rows, capacity=None):
        return Read(torch.zeros(rows, 0, dtype=torch.int64))

    def forward(self, tokens, state=None, *, lengths=None, segments=None, ask=None):
        tokens = torch.cat([state.tokens, tokens], 1)
        logits = self.read(tokens)
        return Prediction(answer(logits, torch.full((len(tokens),), tokens.shape[1]), ask), Read(tokens))


@pytest.fixture(scope="module")
def theirs():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = LlamaConfig(
            vocab_size=VOCAB, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            bos_token_id=0, eos_token_id=[1, 8, 9], pad_token_id=1, tie_word_embeddings=False,
        )  # fmt: skip
        model = LlamaForCausalLM(config).eval()
        for parameter in model.parameters():
            parameter.data.normal_(0, 0.4)
    return model


def foreign(model):
    return Rereading(lambda tokens: model(tokens).logits, VOCAB)


def generate(model, prompts, **settings):
    return model.generate(
        torch.tensor(prompts), attention_mask=torch.ones(len(prompts), len(prompts[0]), dtype=torch.int64),
        do_sample=False, return_dict_in_generate=True, output_scores=True, **settings,
    )  # fmt: skip


def cut(sequence, begin):
    """Leave out the prompt and what stands after the end token."""
    tokens = sequence[begin:].tolist()
    ends = [place + 1 for place, token in enumerate(tokens) if token in ENDS.end_ids]
    return tokens[: ends[0]] if ends else tokens


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 1.7])
@pytest.mark.parametrize("beams", [2, 4, 6])
def test_beams_equal_those_of_transformers(theirs, beams, length_penalty):
    settings = {"num_beams": beams, "max_new_tokens": 9, "length_penalty": length_penalty}
    ours = search(foreign(theirs), PROMPTS, Sampling(n=2, **settings), ENDS)
    expected = generate(theirs, PROMPTS, num_return_sequences=2, early_stopping=True, **settings)
    found = [row.tokens for rows in ours for row in rows]
    assert found == [cut(sequence, 3) for sequence in expected.sequences]
    assert len({len(tokens) for tokens in found}) > 1


@pytest.mark.parametrize("repetition_penalty", [1.0, 1.4])
def test_greedy_equals_that_of_transformers(theirs, repetition_penalty):
    settings = {"max_new_tokens": 12, "repetition_penalty": repetition_penalty}
    steps = decode(foreign(theirs), PROMPTS, Sampling(temperature=0, **settings), ENDS)
    rows = list(next(steps))
    list(steps)
    expected = generate(theirs, PROMPTS, **settings)
    assert [row.tokens for row in rows] == [cut(sequence, 3) for sequence in expected.sequences]


@pytest.mark.parametrize("name", ["llama", "grouped"])
@pytest.mark.parametrize("ends", [frozenset(), frozenset(range(3))])
def test_beams_that_take_each_others_place_equal_those_that_read_everything_again(name, ends):
    model = build(name)
    settings, vocabulary = Sampling(num_beams=4, n=4, max_new_tokens=25), Vocabulary(end_ids=ends)
    prompts = [[5, 7, 9], [11, 13, 4], [17, 19, 40]]
    expected = search(
        Rereading(lambda tokens: model(tokens).values, model.vocab_size), prompts, settings, vocabulary
    )
    found = search(model, prompts, settings, vocabulary)
    assert [[row.tokens for row in rows] for rows in found] == [
        [row.tokens for row in rows] for rows in expected
    ]


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "grouped", "transformer", "t5"])
def test_replaced_rows_equal_selected_ones(name):
    model = build(name)
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(0, model.vocab_size, (2, 9), generator=generator)
    state = model(tokens, model.begin(2), lengths=torch.tensor([9, 4])).state
    state = state.select(torch.tensor([0, 0, 0, 1, 1]))
    state = model(torch.randint(0, model.vocab_size, (5, 3), generator=generator), state).state
    rows, recent = torch.tensor([2, 0, 0, 3, 3]), torch.tensor([3, 3, 3, 0, 3])
    assert isinstance(state, SiblingState)
    following = torch.randint(0, model.vocab_size, (5, 2), generator=generator)
    expected = model(following, state.select(rows)).values
    assert torch.equal(model(following, state.replace(rows, recent)).values, expected)
