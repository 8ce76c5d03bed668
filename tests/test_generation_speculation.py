"""Guessing ahead changes how fast a text is written, never which: the laws of speculative decoding."""

import math
from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
import torch

from members import MEMBERS, VOCABULARY
from rootlm.generation import choosing, decoding
from rootlm.generation.choosing import Offer, choose
from rootlm.generation.decoding import decode
from rootlm.generation.rows import Row, Vocabulary
from rootlm.generation.sampling import DraftConfig, LookUpConfig, Sampling, to_generation_config
from rootlm.generation.speculation import LookUp
from rootlm.generation.texts import Writer
from rootlm.generation.transforms import History
from toys import Lstm, bigram, byte_tokenizer, uniform

ENDS = Vocabulary(end_ids=frozenset([1]))
ENDLESS = Vocabulary()
PROMPTS = [[0, 4, 5, 6, 4, 5], [0], [0, 9, 2, 7, 7, 7, 7], [0, 4, 5, 6, 4, 5, 6, 4]]
LOOKUP = LookUpConfig(tokens=5, ngram=1)
DRAFT = DraftConfig(model="draft", tokens=3)
KINDS = {"lookup": LOOKUP, "draft": DRAFT}
SETTINGS = {
    "greedy": Sampling(temperature=0, max_new_tokens=24),
    "sampled": Sampling(seed=5, max_new_tokens=24),
    "narrowed": Sampling(seed=5, max_new_tokens=24, temperature=0.6, top_k=9, top_p=0.9),
    "penalised": Sampling(
        seed=5, max_new_tokens=24, repetition_penalty=1.1, frequency_penalty=0.1, no_repeat_ngram_size=4
    ),
    "several": Sampling(seed=5, max_new_tokens=24, temperature=0.6, n=3),
    "sliding": Sampling(temperature=0, max_new_tokens=70, on_full="slide"),
}
EXACT = {"greedy", "sliding"}
"""What says the same with a draft as without."""


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


@pytest.mark.parametrize("name", sorted(EXACT))
def test_every_member_says_the_same_when_it_is_its_own_draft(member, name):
    plain = write(member, PROMPTS, SETTINGS[name])
    ahead = write(member, PROMPTS, guessing(SETTINGS[name], "draft"), draft=member)
    assert told(ahead) == told(plain)
    assert sum(row.held for row in ahead)
