"""The one decoding loop: read the prompts once; then choose a token, show it, read it, until all is said."""

from __future__ import annotations

import contextlib
import math
import random
import secrets
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rootlm.generation.sampling import Sampling
from rootlm.generation.stopping import Reason, Voice
from rootlm.generation.transforms import Banned, History, Transform, from_settings
from rootlm.models.interface import LanguageModel, Last, Prediction, State

if TYPE_CHECKING:
    from rootlm.tokenizers.tokenizer import Tokenizer

_LAST = Last()
_ONE = 1 - 2**-40


@dataclass(slots=True, eq=False)
class Row:
    """One text while it is written; `decode` adds to it."""

    prompt: int
    """Which prompt it continues."""
    prompt_ids: Sequence[int]
    seed: int
    """Writes this text again, alone, as the only sample; but for what rounding decides."""
    voice: Voice | None = None
    tokens: list[int] = field(default_factory=list)
    """Every token chosen, the end token or a stop string's included."""
    logprobs: list[float] = field(default_factory=list)
    """ln p of each token by the model itself, before temperature and the like."""
    pieces: list[str] = field(default_factory=list)
    """What may be shown, in the order in which it could be."""
    finish_reason: Reason | None = None
    room: int = sys.maxsize
    """How many more tokens the model can read."""
    draw: Callable[[], float] = random.random

    @property
    def text(self) -> str:
        """All that may be shown so far."""
        return "".join(self.pieces)


@dataclass(frozen=True)
class Vocabulary:
    """What ids mean to the loop: which end a text, which are never said, how they become text."""

    end_ids: frozenset[int] = frozenset()
    banned_ids: frozenset[int] = frozenset()
    tokenizer: Tokenizer | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer, end_ids: frozenset[int] = frozenset(), known: int = 0) -> Vocabulary:
        """Return the vocabulary of a tokenizer; the other special tokens are never said.

        A model that is known to have more ids than the tokenizer, as published ones do, never says those either.
        """
        ends = end_ids or frozenset([tokenizer.eos_id])
        holes = frozenset(number for number in range(known) if not tokenizer.knows(number))
        return cls(ends, (tokenizer.special_ids - ends) | holes, tokenizer)

    def voice(self, prompt_ids: Sequence[int], stops: Sequence[str]) -> Voice | None:
        """Return what turns a row's tokens into text, if there is a tokenizer."""
        return None if self.tokenizer is None else Voice(self.tokenizer, prompt_ids, stops)


def decode(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    vocabulary: Vocabulary,
    state: State | None = None,
) -> Iterator[list[Row]]:
    """Write `n` texts for each prompt, all rows side by side; yields the rows that grew, after every token.

    A prompt is its ids, begin token included. A `state` with a row for each prompt is what was read before them,
    such as sources; it is consumed. What a row says depends on its prompt and its seed, never on
    its neighbours, but for rounding: torch's products may round a prompt, and on a GPU or in a large model every
    token, in another way in another batch.
    Raises ValueError for an empty prompt and for one longer than the model's context.
    """
    check_prompts(model, prompts, sampling, vocabulary)
    with (
        evaluating(model),
        contextlib.closing(_decode(model, prompts, sampling, vocabulary, state)) as steps,
    ):
        yield from steps


@torch.inference_mode()
def _decode(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    vocabulary: Vocabulary,
    before: State | None,
) -> Generator[list[Row], None, None]:
    capacity = max(map(len, prompts)) + sampling.max_new_tokens
    capacity = min(capacity, model.context or capacity)
    rows = _start(model, prompts, sampling, vocabulary)
    device = model.device
    transforms = all_transforms(model, sampling, vocabulary)
    read_before, written = [row.prompt_ids for row in rows], [row.tokens for row in rows]
    history = History(read_before, written, model.vocab_size, device)
    # Who slides reads again, after what was there before the prompts.
    again = _copy(before, device) if before is not None and sampling.on_full == "slide" else None
    values, state = read(model, prompts, capacity, before)
    if sampling.n > 1:
        copies = torch.arange(len(prompts), device=device).repeat_interleave(sampling.n)
        values, state = values[copies], state.select(copies)
    while True:
        logits = values.float()  # (rows, vocabulary)
        chosen = _choose(logits, transforms, history, rows, sampling.greedy)  # (rows,)
        logprobs = logits.log_softmax(-1).gather(1, chosen[:, None])[:, 0]
        for row, token, logprob in zip(rows, chosen.tolist(), logprobs.tolist(), strict=True):
            row.tokens.append(token)
            row.logprobs.append(logprob)
            _settle(row, token, sampling, vocabulary)
        history.add(chosen)
        yield rows
        kept = [index for index, row in enumerate(rows) if row.finish_reason is None]
        if not kept:
            return
        if len(kept) < len(rows):
            keep = torch.tensor(kept, device=device)
            rows, history = [rows[index] for index in kept], history.select(kept)
            state, chosen = state.select(keep), chosen[keep]
        if any(row.room == 0 for row in rows):
            order = sorted(range(len(rows)), key=lambda index: rows[index].room == 0)
            rows, history = [rows[index] for index in order], history.select(order)
            ordered = state.select(torch.tensor(order, device=device))
            values, state = _slide(model, rows, ordered, capacity, again)
            continue
        prediction = model(chosen[:, None], state, ask=_LAST)
        values, state = prediction.values[:, -1], prediction.state
        for row in rows:
            row.room -= 1


def check_prompts(
    model: LanguageModel, prompts: Sequence[Sequence[int]], sampling: Sampling, vocabulary: Vocabulary
) -> None:
    """Raise ValueError for prompts that the model cannot continue and settings that need a tokenizer."""
    if sampling.stop and vocabulary.tokenizer is None:
        raise ValueError("stop strings need a tokenizer; leave out stop, or give one")
    if not prompts:
        raise ValueError("no prompt was given; an empty text is the prompt that holds only the begin token")
    for number, prompt in enumerate(prompts, 1):
        if not prompt:
            raise ValueError(f"prompt {number} holds no token; begin it with the begin token")
        if model.context is not None and len(prompt) > model.context:
            raise ValueError(
                f"prompt {number} has {len(prompt):,} tokens, the begin token included, and the model "
                f"reads at most {model.context:,}; give its last part only"
            )


def all_transforms(model: LanguageModel, sampling: Sampling, vocabulary: Vocabulary) -> list[Transform]:
    """Return the transforms of settings and vocabulary together."""
    transforms = from_settings(sampling)
    if vocabulary.banned_ids:
        device = model.device
        transforms.insert(0, Banned.ids(vocabulary.banned_ids, model.vocab_size, device))
    return transforms


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout and the like off for a while."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _copy(state: State, device: torch.device) -> State:
    return state.select(torch.arange(len(state.lengths), device=device))


def read(
    model: LanguageModel, prompts: Sequence[Sequence[int]], capacity: int, state: State | None = None
) -> tuple[Tensor, State]:
    """Read ragged prompts in one batch; returns the logits after each, (rows, vocabulary), and the state."""
    prediction = read_all(model, prompts, capacity, state)
    assert prediction.state is not None
    return prediction.values[:, -1], prediction.state


def read_all(
    model: LanguageModel, prompts: Sequence[Sequence[int]], capacity: int, state: State | None = None
) -> Prediction:
    """Read ragged prompts in one batch, after a state with a row for each or from the beginning."""
    device = model.device
    sizes = [len(prompt) for prompt in prompts]
    longest = max(sizes)
    padded = [[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts]
    lengths = None if min(sizes) == longest else torch.tensor(sizes, device=device)
    state = model.begin(len(prompts), capacity) if state is None else state
    prediction: Prediction = model(torch.tensor(padded, device=device), state, lengths=lengths, ask=_LAST)
    return prediction


def _start(
    model: LanguageModel, prompts: Sequence[Sequence[int]], sampling: Sampling, vocabulary: Vocabulary
) -> list[Row]:
    first = secrets.randbelow(2**31) if sampling.seed is None else sampling.seed
    rows = []
    for number, prompt in enumerate(prompts):
        for seed in range(first, first + sampling.n):
            row = Row(number, prompt, seed, vocabulary.voice(prompt, sampling.stop))
            # The prompt is mixed in, or the same seed would draw alike after different prompts.
            row.draw = random.Random(f"{seed} {list(prompt)}").random
            if model.context is not None:
                row.room = model.context - len(prompt)
            rows.append(row)
    return rows


def _choose(
    logits: Tensor, transforms: Sequence[Transform], history: History, rows: Sequence[Row], greedy: bool
) -> Tensor:
    """Return one token per row, (rows,): the likeliest, or drawn with each row's own random number."""
    for transform in transforms:
        logits = transform(logits, history)
    if greedy:
        return logits.argmax(-1)
    if logits.device.type == "mps":
        logits = logits.cpu()  # which has no float64
    cumulative = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
    # Just below 1, so that rounding never reaches past the last token that may be said.
    draws = [[row.draw() * _ONE] for row in rows]
    points = torch.tensor(draws, dtype=torch.float64, device=logits.device) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, points, right=True)[:, 0].to(history.device)


def _settle(row: Row, token: int, sampling: Sampling, vocabulary: Vocabulary) -> None:
    """Show what the token adds and see whether the row is done."""
    voice = row.voice
    if token in vocabulary.end_ids:
        row.finish_reason = "stop"
    else:
        if voice is not None:
            row.pieces.append(voice.say(token))
            if voice.stopped:
                row.finish_reason = "stop"
                return
        if len(row.tokens) >= sampling.max_new_tokens:
            row.finish_reason = "length"
        elif row.room == 0 and sampling.on_full == "stop":
            row.finish_reason = "context"
    if row.finish_reason is not None and voice is not None:
        row.pieces.append(voice.finish())


def _slide(
    model: LanguageModel, rows: list[Row], state: State, capacity: int, before: State | None
) -> tuple[Tensor, State]:
    """Read on where there is room; elsewhere forget all but the last half. Full rows stand last."""
    assert model.context is not None
    device = model.device
    window = math.ceil(model.context / 2)
    full = [row for row in rows if row.room == 0]
    going = rows[: len(rows) - len(full)]
    if before is not None:
        before = before.select(torch.tensor([row.prompt for row in full], device=device))
    values, fresh = read(model, [[*row.prompt_ids, *row.tokens][-window:] for row in full], capacity, before)
    for row in full:
        row.room = model.context - window
    if not going:
        return values, fresh
    tokens = torch.tensor([[row.tokens[-1]] for row in going], device=device)
    prediction = model(tokens, state.select(torch.arange(len(going), device=device)), ask=_LAST)
    for row in going:
        row.room -= 1
    return torch.cat([prediction.values[:, -1], values]), prediction.state.join(fresh)
