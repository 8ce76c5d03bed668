"""One row of a training batch, token by token, as a person reads it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from rootlm.objectives.sequence_to_sequence import SourceBatch
from rootlm.runs.prepared import prepare, running
from rootlm.runs.recipe import Recipe
from rootlm.tokenizers.tokenizer import Tokenizer


def batch_table(recipe: Recipe, *, step: int, row: int) -> str:
    """Return a table: place, segment, token, target, weight; raises ValueError for a row that is not there."""
    training = recipe.training
    if recipe.objective.reads == "documents":
        raise ValueError(
            f"objective.kind={recipe.objective.kind} reads whole documents; this table shows tokens that are asked "
            "one by one"
        )
    with TemporaryDirectory(prefix="rootlm-batch-") as temporary, running(recipe) as (place, workers):
        prepared = prepare(recipe, Path(temporary), place, workers)
        windows = prepared.feed().step(step)
        objective = prepared.recipe.objective.build()
        batch = objective.prepare(windows, torch.Generator().manual_seed(training.seed))
        tokenizer = prepared.material.tokenizer
        if not 0 <= row < len(batch):
            raise ValueError(f"row {row}: this step has rows 0 to {len(batch) - 1}")

        def name(token: int, tokenizer: Tokenizer = tokenizer) -> str:
            return tokenizer.token_text(token).replace(" ", "␣")

        lines = []
        if isinstance(batch, SourceBatch):
            source = batch.sources[row, : batch.source_lengths[row]].tolist()
            reader = prepared.material.reader
            lines.append(f"source: {' '.join(name(token, reader) for token in source)}")
        # A row of windows holds several documents, a row of pairs is one.
        documents = np.broadcast_to(windows.documents.reshape(len(batch), -1), batch.tokens.shape)
        lines.append("place  segment  document  weight  token → target")
        for place_number, (token, target, segment, document, weight) in enumerate(
            zip(
                batch.tokens[row].tolist(),
                batch.targets[row].tolist(),
                batch.segments[row].tolist(),
                documents[row].tolist(),
                batch.weights[row].tolist(),
                strict=True,
            )
        ):
            asked = name(target) if target >= 0 else "—"
            lines.append(
                f"{place_number:>5}  {segment:>7}  {document:>8}  {weight:>6g}  {name(token)} → {asked}"
            )
    asked_count = int((batch.weights > 0).sum())
    lines.append(f"this batch asks for {asked_count:,} predictions in {batch.tokens.numel():,} places")
    return "\n".join(lines)
