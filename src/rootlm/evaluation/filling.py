"""What stands where a text says `<mask>`: the likeliest tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rootlm.evaluation.pseudo_likelihood import mask_of
from rootlm.generation.decoding import evaluating
from rootlm.models.interface import Encoder
from rootlm.tokenizers.tokenizer import Tokenizer

GAP = "<mask>"
"""How a person writes a gap, whatever the tokenizer calls it."""


@dataclass(frozen=True, slots=True)
class Filling:
    """One token for a gap."""

    text: str
    probability: float


@torch.inference_mode()
def fill(model: Encoder, tokenizer: Tokenizer, text: str, k: int = 5) -> list[list[Filling]]:
    """Return the k likeliest tokens for each gap of `text`, each gap told while the others are still open.

    A gap may also be written as the tokenizer spells its mask, such as [MASK].

    Special tokens are never a filling. Raises ValueError for a text without a gap, or longer than the context.
    """
    mask_id = mask_of(tokenizer)
    parts = text.replace(tokenizer.name_of(mask_id), GAP).split(GAP)
    if len(parts) == 1:
        raise ValueError(f"the text has no gap; write {GAP} where a token is missing")
    ids: list[int] = []
    glued = _takes_space(tokenizer)
    for number, part in enumerate(parts):
        if number:
            ids.append(mask_id)
        # A token that begins an English word brings its space along, so the space before a gap is the gap's.
        ids += tokenizer.encode(part.removesuffix(" ") if glued and number < len(parts) - 1 else part)
    device = next(model.parameters()).device
    tokens = torch.tensor([tokenizer.framed(ids)], device=device)
    special = torch.tensor(sorted(tokenizer.special_ids), device=device)
    with evaluating(model):
        hidden = model(tokens)[tokens == mask_id]
        logits = model.predict(hidden[None])[0].float()
    shares = logits.index_fill(1, special, -torch.inf).softmax(-1)
    found = shares.topk(min(k, shares.shape[1] - len(special)))
    return [
        [Filling(tokenizer.token_text(number), share) for number, share in zip(ids, values, strict=True)]
        for ids, values in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]


def _takes_space(tokenizer: Tokenizer) -> bool:
    """Whether the token that begins a word holds the space before it."""
    *_, last = tokenizer.encode("b a")
    return tokenizer.knows_words or tokenizer.token_text(last) == " a"
