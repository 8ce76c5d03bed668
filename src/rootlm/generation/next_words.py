"""What comes next: the likeliest continuations that are whole characters, with their probabilities."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rootlm.generation.choosing import check_numbers
from rootlm.generation.decoding import check_prompts, evaluating
from rootlm.generation.prompt_reading import read
from rootlm.generation.rows import Vocabulary
from rootlm.generation.sampling import Sampling
from rootlm.generation.stopping import Voice
from rootlm.models.interface import LanguageModel, Last
from rootlm.tokenizers.tokenizer import Tokenizer

_TORN = "\ufffd"
_LONGEST = 4
_MOST_READINGS = 128


@dataclass(frozen=True, slots=True)
class NextWord:
    """One continuation: a token, or the few tokens that make up a character."""

    text: str
    probability: float
    tokens: tuple[int, ...]
    """The likeliest way to write it."""


@torch.inference_mode()
def next_words(model: LanguageModel, tokenizer: Tokenizer, prompt: str, k: int = 10) -> list[NextWord]:
    """Return the k likeliest continuations of a prompt, likeliest first.

    A token that ends within a character is read on until the character is whole, likeliest way first; a
    character that can be written in several ways has the probability of all that were met.
    """
    if k < 1:
        raise ValueError(f"{k} next words were asked for; ask for at least 1")
    ids = tokenizer.prompt(prompt)
    check_prompts(model, [ids], Sampling(), Vocabulary())
    room = _LONGEST if model.context is None else min(_LONGEST, model.context - len(ids) + 1)
    with evaluating(model):
        return _search(model, tokenizer, ids, k, room)


def _search(model: LanguageModel, tokenizer: Tokenizer, ids: list[int], k: int, room: int) -> list[NextWord]:
    """Take the likeliest beginning, again and again: whole ones are found, torn ones are read on."""
    values, state = read(model, [ids], len(ids) + room)
    device = values.device
    first_row = torch.zeros(1, dtype=torch.int64, device=device)
    order = itertools.count()
    queue: list[tuple[float, int, tuple[int, ...]]] = []

    def push(probabilities: torch.Tensor, before: tuple[int, ...], share: float) -> None:
        best = probabilities.topk(min(8 * k, len(probabilities)))
        for probability, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            if tokenizer.knows(token):
                heapq.heappush(queue, (-share * probability, next(order), (*before, token)))

    push(check_numbers(values[0].float().softmax(-1)), (), 1.0)
    found: dict[str, tuple[float, tuple[int, ...]]] = {}
    readings = 0
    while queue and len(found) < k:
        negative, _, tokens = heapq.heappop(queue)
        text = _text(tokenizer, ids, tokens)
        if text.endswith(_TORN) and len(tokens) < room and readings < _MOST_READINGS:
            readings += 1
            prediction = model(torch.tensor([tokens], device=device), state.select(first_row), ask=Last())
            push(check_numbers(prediction.values[0, -1].float().softmax(-1)), tokens, -negative)
            continue
        if not text or text.endswith(_TORN):
            text = "".join(tokenizer.token_text(token) for token in tokens)
        probability, way = found.get(text, (0.0, tokens))
        found[text] = (probability - negative, way)
    words = [NextWord(text, probability, way) for text, (probability, way) in found.items()]
    return sorted(words, key=lambda word: -word.probability)


def _text(tokenizer: Tokenizer, prompt_ids: Sequence[int], tokens: tuple[int, ...]) -> str:
    voice = Voice(tokenizer, prompt_ids, ())
    said = [voice.say(token) for token in tokens if token not in tokenizer.special_ids]
    return "".join(said) + voice.finish()
