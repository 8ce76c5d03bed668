"""The picture of one pair of texts: what each piece of the target listened to in the source."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rootlm.core.heatmap import heatmap
from rootlm.generation.decoding import evaluating
from rootlm.models.interface import LanguageModel, Source, SourceModel
from rootlm.tokenizers.tokenizer import Tokenizer

_END = "■"


def attention_picture(
    model: LanguageModel, tokenizer: Tokenizer, source: str, target: str, reader: Tokenizer | None = None
) -> str:
    """Return an SVG: a row for each piece of the target, a column for each of the source, all heads together.

    A piece is a token, or the tokens that make one character. `reader` reads the source, where that is another
    tokenizer. Raises ValueError for a model that reads no source.
    """
    if not isinstance(model, SourceModel):
        raise ValueError(f"a {model.config.kind} attends to no source; name the run of an encoder–decoder")
    reader = reader or tokenizer
    ids = [*reader.encode(source), reader.eos_id]
    said = [*tokenizer.encode(target), tokenizer.eos_id]
    device = next(model.parameters()).device
    with evaluating(model), torch.inference_mode():
        # What was heard when a token was chosen stands where the one before it was read.
        read = torch.tensor([[tokenizer.bos_id, *said[:-1]]], device=device)
        heads = model.attention(Source(torch.tensor([ids], device=device)), read)
    shares = heads[0].float().mean(0).cpu()  # (time, places)
    columns, rows = _pieces(reader, ids), _pieces(tokenizer, said)
    # A source's piece has what its tokens have together, a target's piece what its tokens have on the average.
    joined = _joined(_joined(shares.T, [count for _, count in columns]).T, [count for _, count in rows])
    sizes = torch.tensor([count for _, count in rows])[:, None]
    names = [name for name, _ in columns], [name for name, _ in rows]
    return heatmap(f"{target} ← {source}", *names, (joined / sizes).tolist())


def _pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> list[tuple[str, int]]:
    """Return texts of whole characters, each with the number of its tokens; the end mark is one."""
    stream, found, held = tokenizer.stream(), list[tuple[str, int]](), 0
    for token in ids[:-1]:
        text = stream.feed(token)
        held += 1
        if text:
            found.append((text, held))
            held = 0
    rest = stream.finish()
    return [*found, *([(rest, held)] if held else []), (_END, 1)]


def _joined(values: Tensor, counts: Sequence[int]) -> Tensor:
    """Add up rows, so many at a time."""
    parts = torch.split(values, list(counts))
    return torch.stack([part.sum(0) for part in parts])
