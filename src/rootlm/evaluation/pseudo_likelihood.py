"""How likely an encoder finds every token of a text, each hidden in turn (Salazar et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rootlm.evaluation.likelihood import Floats, Scored
from rootlm.generation.decoding import evaluating
from rootlm.models.interface import Encoder, Ranks
from rootlm.text.document import Document
from rootlm.tokenizers.tokenizer import Tokenizer

CAVEAT = (
    "each token was hidden in turn and told from all others of its text: no probability of the text, "
    "and lower than what a model pays that reads left to right; compare it only between such encoders"
)
_BATCH_TOKENS = {"cpu": 1 << 13}
_BATCH_TOKENS_ELSEWHERE = 1 << 16


def pseudo_score(model: Encoder, tokenizer: Tokenizer, documents: Iterable[Document]) -> Iterator[Scored]:
    """Score documents in their order; the end of a document is not asked.

    A document longer than the context is read in stretches that overlap by half; a token is told in the one in
    which it is nearest to the middle. Raises ValueError for a tokenizer without a mask token.
    """
    mask_id = mask_of(tokenizer)
    for document in documents:
        ids = tokenizer.encode(document.text)
        before, after = tokenizer.frame
        nats, ranks = pseudo_score_ids(model, ids, ((before or [tokenizer.bos_id])[-1], mask_id), after=after)
        if not np.isfinite(nats).all():
            place = int(np.flatnonzero(~np.isfinite(nats))[0])
            raise ValueError(
                f"{document.source}: the cost of token {place + 1} ({tokenizer.token_text(ids[place])!r}) is no "
                "finite number; the model's weights are broken, so there is no score"
            )
        yield Scored(document, ids, nats, ranks, tokenizer.lost_bytes(document.text))


def mask_of(tokenizer: Tokenizer) -> int:
    """Return the id that hides a token; raises ValueError when there is none."""
    if tokenizer.mask_id is None:
        raise ValueError("the tokenizer has no mask token; train an encoder with objective.kind=masked")
    return tokenizer.mask_id


@torch.inference_mode()
def pseudo_score_ids(
    model: Encoder,
    ids: Sequence[int],
    marks: tuple[int, int],
    batch_tokens: int | None = None,
    *,
    after: Sequence[int] = (),
) -> tuple[Floats, NDArray[np.int64]]:
    """Return nats and rank of every id when it is hidden; `marks` are the begin mark and the mask.

    `after` is what stands behind the end of the text.
    """
    device = next(model.parameters()).device
    if batch_tokens is None:
        batch_tokens = _BATCH_TOKENS.get(device.type, _BATCH_TOKENS_ELSEWHERE)
    nats, ranks = np.zeros(len(ids)), np.zeros(len(ids), np.int64)
    known = torch.tensor(ids, dtype=torch.int64, device=device)
    with evaluating(model):
        room = (model.context or len(ids) + 1 + len(after)) - 1 - len(after)
        for begin, end, first, last in _stretches(len(ids), room):
            before = marks[0] if begin == 0 else ids[begin - 1]
            behind = after if end == len(ids) else ()
            read = torch.cat([known.new_tensor([before]), known[begin:end], known.new_tensor(list(behind))])
            together = max(1, batch_tokens // len(read))
            for start in range(first, last, together):
                places = torch.arange(start, min(start + together, last), device=device)
                rows = torch.arange(len(places), device=device)
                tokens = read.repeat(len(places), 1)
                tokens[rows, places - begin + 1] = marks[1]
                hidden = model(tokens)[rows, places - begin + 1]
                values = model.predict(hidden[None], Ranks(known[places][None]))[0].double().cpu().numpy()
                nats[start : start + len(places)], ranks[start : start + len(places)] = values.T
    return nats, ranks


def _stretches(length: int, room: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield what is read, and which of its places are asked there; every place is asked once.

    >>> list(_stretches(10, 4))
    [(0, 4, 0, 3), (2, 6, 3, 5), (4, 8, 5, 7), (6, 10, 7, 10)]
    """
    stride = max(1, room // 2)
    asked = begin = 0
    while asked < length:
        end = min(begin + room, length)
        last = length if end == length else max(asked + 1, begin + room - (room - stride) // 2)
        yield begin, end, asked, last
        asked, begin = last, begin + stride
