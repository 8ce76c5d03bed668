"""The one decoding loop: read the prompts once; then choose a token, show it, read it, until all is said."""

from __future__ import annotations

import contextlib
import math
import random
import secrets
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rootlm.generation.answering import Ending
from rootlm.generation.choosing import check_numbers, choose
from rootlm.generation.drafting import Drafting
from rootlm.generation.prompt_reading import padded, read
from rootlm.generation.rows import Row, Vocabulary
from rootlm.generation.sampling import DraftConfig, LookUpConfig, Sampling
from rootlm.generation.speculation import Guesser, Guesses, LookUp
from rootlm.generation.transforms import Banned, History, Transform, from_settings
from rootlm.models.interface import All, LanguageModel, Last, State

_LAST = Last()


def decode(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    vocabulary: Vocabulary,
    state: State | None = None,
    *,
    draft: LanguageModel | None = None,
) -> Iterator[list[Row]]:
    """Write `n` texts for each prompt, all rows side by side; yields the rows that grew, after every token.

    A prompt is its ids, begin token included. A `state` with a row for each prompt is what was read before them,
    such as sources; it is consumed. What a row says depends on its prompt and its seed, never on
    its neighbours, but for rounding: torch's products may round a prompt, and on a GPU or in a large model every
    token, in another way in another batch. Where a `draft` guesses what is drawn, rows that come near the limit of
    a context change how far it guesses for all, and so what else is drawn.
    Raises ValueError for an empty prompt, for one longer than the model's context, and for a missing draft.
    """
    check_prompts(model, prompts, sampling, vocabulary)
    rules = _Rules(sampling, vocabulary, all_transforms(model, sampling, vocabulary))
    guesser = _guesser(model, rules, draft)
    with (
        evaluating(model),
        evaluating(draft or model),
        contextlib.closing(_decode(model, prompts, rules, guesser, state)) as steps,
    ):
        yield from steps


@dataclass(frozen=True)
class _Rules:
    """How tokens are chosen and texts end."""

    sampling: Sampling
    vocabulary: Vocabulary
    transforms: Sequence[Transform]


def _guesser(model: LanguageModel, rules: _Rules, draft: LanguageModel | None) -> Guesser | None:
    """Return who guesses ahead, if anybody does."""
    match rules.sampling.speculate:
        case LookUpConfig(tokens=tokens, ngram=ngram):
            return LookUp(tokens, ngram)
        case DraftConfig(tokens=tokens, model=name):
            if draft is None:
                raise ValueError(f"speculate.model={name} is not opened here; speculate with rootlm generate")
            unknown = set(range(draft.vocab_size, model.vocab_size)) - rules.vocabulary.banned_ids
            if unknown:
                raise ValueError(
                    f"speculate.model={name} does not know id {min(unknown)}; name a draft with the same tokenizer"
                )
            return Drafting(draft, tokens, rules.transforms, rules.sampling.greedy, model.vocab_size)
        case None:
            return None


@torch.inference_mode()
def _decode(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    rules: _Rules,
    guesser: Guesser | None,
    before: State | None,
) -> Generator[list[Row], None, None]:
    sampling = rules.sampling
    capacity = max(map(len, prompts)) + sampling.max_new_tokens
    capacity = min(capacity, model.context or capacity)
    rows = _start(model, prompts, sampling, rules.vocabulary)
    device = model.device
    read_before, written = [row.prompt_ids for row in rows], [row.tokens for row in rows]
    history = History(read_before, written, model.vocab_size, device)
    # Who slides reads again, after what was there before the prompts.
    again = _copy(before, device) if before is not None and sampling.on_full == "slide" else None
    values, state = read(model, prompts, capacity, before)
    if sampling.n > 1:
        copies = torch.arange(len(prompts), device=device).repeat_interleave(sampling.n)
        values, state = values[copies], state.select(copies)
    values, guesses = values[:, None], Guesses.none(len(rows))  # (rows, places, vocabulary)
    while True:
        wrong = yield from _say(values, guesses, rows, history, rules)
        kept = [index for index, row in enumerate(rows) if row.finish_reason is None]
        if not kept:
            return
        if len(kept) < len(rows):
            rows, history, wrong = [rows[i] for i in kept], history.select(kept), [wrong[i] for i in kept]
            state = state.select(torch.tensor(kept, device=device))
        if any(wrong):
            state = state.rewind(torch.tensor(wrong, device=device))
        if any(row.room == 0 for row in rows):
            order = sorted(range(len(rows)), key=lambda index: rows[index].room == 0)
            rows, history = [rows[index] for index in order], history.select(order)
            ordered = state.select(torch.tensor(order, device=device))
            values, state = _slide(model, rows, ordered, capacity, again)
            values, guesses = values[:, None], Guesses.none(len(rows))
            continue
        guesses = (
            Guesses.none(len(rows)) if guesser is None else _guessed(model, guesser, rows, history, sampling)
        )
        values, state = _read_on(model, rows, guesses, state)


def _say(
    values: Tensor, guesses: Guesses, rows: list[Row], history: History, rules: _Rules
) -> Generator[list[Row], None, list[int]]:
    """Choose a token, and while it is the one that was guessed, the next; yields the rows that grew.

    `values` are the logits after each row's last token and after each guess, (rows, places, vocabulary). Returns how
    many guesses of each row were wrong.
    """
    active, wrong = list(range(len(rows))), [len(guess) for guess in guesses.tokens]
    for row, count in zip(rows, wrong, strict=True):
        row.readings += 1
        row.guessed += count
    for place in range(values.shape[1]):
        whole = len(active) == len(rows)
        speaking, past = [rows[index] for index in active], history if whole else history.select(active)
        logits = values[:, place].float() if whole else values[active, place].float()  # (rows, vocabulary)
        offer = guesses.offer(active, place)
        logprobs_of = check_numbers(logits.log_softmax(-1))
        chosen = choose(
            logits, rules.transforms, past, speaking, rules.sampling.greedy, offer=offer
        )  # (rows,)
        logprobs = logprobs_of.gather(1, chosen[:, None])[:, 0]
        said = chosen.tolist()
        for row, token, logprob in zip(speaking, said, logprobs.tolist(), strict=True):
            row.tokens.append(token)
            row.logprobs.append(logprob)
            _settle(row, token, rules.sampling, rules.vocabulary)
        history.add(chosen, None if whole else active)
        yield speaking
        active = [
            i
            for i, token in zip(active, said, strict=True)
            if guesses.tokens[i][place : place + 1] == [token]
        ]
        for index in active:
            wrong[index] -= 1
            rows[index].held += 1
        active = [index for index in active if rows[index].finish_reason is None]
        for index in active:
            rows[index].room -= 1
        if not active:
            break
    return wrong


def _guessed(
    model: LanguageModel, guesser: Guesser, rows: list[Row], history: History, sampling: Sampling
) -> Guesses:
    """Let somebody guess as far as there is room; a guess is followed by one more token.

    Guesses that fail must not have made a text long: no reading goes over the border where that changes it.
    """
    room, border = min(row.room for row in rows) - 1, model.short_until
    longest = [min(room, sampling.max_new_tokens - len(row.tokens) - 1) for row in rows]
    if border is not None and model.context is not None:
        left = [border - (model.context - row.room) - 1 for row in rows]
        longest = [most if free < 0 else min(most, free) for most, free in zip(longest, left, strict=True)]
    return guesser.guess(rows, longest, history)


def _read_on(model: LanguageModel, rows: list[Row], guesses: Guesses, state: State) -> tuple[Tensor, State]:
    """Read each row's last token and its guesses; returns the logits after each, (rows, places, vocabulary)."""
    texts = [[row.tokens[-1], *guess] for row, guess in zip(rows, guesses.tokens, strict=True)]
    tokens, lengths = padded(texts, model.device)
    prediction = model(tokens, state, lengths=lengths, ask=_LAST if tokens.shape[1] == 1 else All())
    for row in rows:
        row.room -= 1
    return prediction.values, prediction.state


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
    if vocabulary.answering is not None:
        said, most = vocabulary.answering, sampling.max_new_tokens
        least = said.least - (said.first is not None)
        transforms.append(Ending(vocabulary.end_ids, least, most, said.last))
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
