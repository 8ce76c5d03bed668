"""How likely a model finds documents: nats and rank of every token, each scored once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rootlm.generation.decoding import evaluating
from rootlm.models.interface import LanguageModel, Ranks
from rootlm.text.document import Document
from rootlm.tokenizers.tokenizer import Tokenizer

Floats = NDArray[np.float64]

_BLOCK_TOKENS = 1 << 18
# On a processor what is read should stay in its caches; a graphics card wants to be filled.
_BATCH_TOKENS = {"cpu": 1 << 11}
_BATCH_TOKENS_ELSEWHERE = 1 << 15


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model makes of one document, which it read as begin token + ids."""

    document: Document
    ids: Sequence[int]
    """What it was asked for: the document's ids, then the end token."""
    nats: Floats
    """−ln p of each."""
    ranks: NDArray[np.int64]
    """How many ids were likelier than each; 0 is a correct greedy guess."""
    lost_bytes: int
    """UTF-8 bytes of the text that its ids do not determine."""


@dataclass(frozen=True, slots=True)
class _Window:
    """Some of a document, read in one go: places `begin` … `end`, of which those from `scored` on count."""

    document: int
    begin: int
    end: int
    scored: int


def score(model: LanguageModel, tokenizer: Tokenizer, documents: Iterable[Document]) -> Iterator[Scored]:
    """Score documents in their order; only a block of them is held in memory.

    A document longer than the model's context is read in windows that overlap by half: each token is scored
    once, after at least half a context. Raises ValueError naming the document for which the model gives no
    finite number.
    """
    for block in _blocks(documents, tokenizer):
        ids = [[*sequence, tokenizer.eos_id] for _, sequence in block]
        answers = score_ids(model, ids, tokenizer.bos_id)
        for (document, _), wanted, (nats, ranks) in zip(block, ids, answers, strict=True):
            _check(document, wanted, nats, tokenizer)
            yield Scored(document, wanted, nats, ranks, tokenizer.lost_bytes(document.text))


@torch.inference_mode()
def score_ids(
    model: LanguageModel,
    documents: Sequence[Sequence[int]],
    first: int | Sequence[int],
    batch_tokens: int | None = None,
) -> list[tuple[Floats, NDArray[np.int64]]]:
    """Return nats and ranks of every id of every document, each after the ids before it.

    `first` stands before each document, such as a begin token, or is one for each of them.
    `batch_tokens` are read at once, padding included; None takes what suits the device.
    """
    if batch_tokens is None:
        kind = model.device.type
        batch_tokens = _BATCH_TOKENS.get(kind, _BATCH_TOKENS_ELSEWHERE)
    firsts = [first] * len(documents) if isinstance(first, int) else first
    answers = [(np.zeros(len(ids)), np.zeros(len(ids), np.int64)) for ids in documents]
    windows = [window for number, ids in enumerate(documents) for window in _windows(number, len(ids), model)]
    # Alike in length: hardly any padding.
    windows.sort(key=lambda window: window.end - window.begin)
    with evaluating(model):
        for batch in _batches(windows, batch_tokens):
            rows = [_row(documents[window.document], window, firsts[window.document]) for window in batch]
            values = _read(model, rows, batch_tokens)
            for window, row in zip(batch, values, strict=True):
                nats, ranks = answers[window.document]
                place = slice(window.scored, window.end)
                found = row[window.scored - window.begin : window.end - window.begin]
                nats[place], ranks[place] = found[:, 0], found[:, 1]
    return answers


def _blocks(
    documents: Iterable[Document], tokenizer: Tokenizer
) -> Iterator[list[tuple[Document, list[int]]]]:
    """Encode documents, some megabytes at a time."""
    held: list[Document] = []
    characters = 0
    for document in documents:
        held.append(document)
        characters += len(document.text) + 1
        if characters >= _BLOCK_TOKENS:
            yield list(zip(held, tokenizer.encode_batch([one.text for one in held]), strict=True))
            held, characters = [], 0
    if held:
        yield list(zip(held, tokenizer.encode_batch([one.text for one in held]), strict=True))


def _windows(document: int, length: int, model: LanguageModel) -> Iterator[_Window]:
    context = model.context or max(length, 1)
    stride = max(1, context // 2)
    scored = begin = 0
    while scored < length:
        end = min(begin + context, length)
        yield _Window(document, begin, end, scored)
        scored, begin = end, begin + stride


def _batches(windows: Sequence[_Window], batch_tokens: int) -> Iterator[list[_Window]]:
    """Group windows, sorted by length, so that a padded batch holds at most `batch_tokens` places."""
    batch: list[_Window] = []
    for window in windows:
        if batch and (len(batch) + 1) * (window.end - window.begin) > batch_tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _row(ids: Sequence[int], window: _Window, first: int) -> tuple[list[int], list[int]]:
    """Return what a window reads, and what it is asked: −1 where another window has asked before."""
    before = [first] if window.begin == 0 else [ids[window.begin - 1]]
    read = [*before, *ids[window.begin : window.end - 1]]
    return read, [-1] * (window.scored - window.begin) + list(ids[window.scored : window.end])


def _read(model: LanguageModel, rows: Sequence[tuple[list[int], list[int]]], batch_tokens: int) -> Floats:
    """Return (rows, time, 2): nats and ranks of one batch."""
    device = model.device
    sizes = [len(read) for read, _ in rows]
    longest = max(sizes)
    tokens = torch.tensor([[*read, *[0] * (longest - len(read))] for read, _ in rows], device=device)
    asked = torch.tensor([[*wanted, *[-1] * (longest - len(wanted))] for _, wanted in rows], device=device)
    if longest > batch_tokens:
        return _as_array(_read_in_parts(model, tokens, asked, batch_tokens))
    lengths = None if min(sizes) == longest else torch.tensor(sizes, device=device)
    return _as_array(model(tokens, lengths=lengths, ask=Ranks(asked)).values)


def _read_in_parts(model: LanguageModel, tokens: Tensor, asked: Tensor, part: int) -> Tensor:
    """Read one very long row a part at a time."""
    state = model.begin(1, tokens.shape[1])
    values = []
    for begin in range(0, tokens.shape[1], part):
        place = slice(begin, begin + part)
        prediction = model(tokens[:, place], state, ask=Ranks(asked[:, place]))
        values.append(prediction.values)
        state = prediction.state
    return torch.cat(values, 1)


def _as_array(values: Tensor) -> Floats:
    return values.double().cpu().numpy()


def _check(document: Document, ids: Sequence[int], nats: Floats, tokenizer: Tokenizer) -> None:
    if np.isfinite(nats).all():
        return
    place = int(np.flatnonzero(~np.isfinite(nats))[0])
    what = "is no number" if np.isnan(nats[place]) else "is infinite"
    raise ValueError(
        f"{document.source}: the cost of token {place + 1} ({tokenizer.token_text(ids[place])!r}) {what}; "
        "the model's weights are broken or it finds the token impossible, so there is no score"
    )
