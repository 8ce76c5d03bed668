"""One row of a training batch, token by token, as a person reads it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from rootlm.runs.prepared import prepare, running
from rootlm.runs.recipe import Recipe


def batch_table(recipe: Recipe, *, step: int, row: int) -> str:
    """Return a table: place, segment, token, target, weight; raises ValueError for a row that is not there."""
    training = recipe.training
    if not 0 <= row < training.batch_size:
        raise ValueError(f"row {row}: a step has rows 0 to {training.batch_size - 1}")
    if recipe.objective.reads != "windows":
        raise ValueError(
            f"objective.kind={recipe.objective.kind} reads whole documents; this table shows windows of tokens that "
            "are asked one by one"
        )
    with TemporaryDirectory(prefix="rootlm-batch-") as temporary, running(recipe) as (place, workers):
        prepared = prepare(recipe, Path(temporary), place, workers)
        windows = prepared.feed().step(step)
        objective = prepared.recipe.objective.build()
        batch = objective.prepare(windows, torch.Generator().manual_seed(training.seed))
        tokenizer = prepared.material.tokenizer

        def name(token: int) -> str:
            return tokenizer.token_text(token).replace(" ", "␣")

        lines = ["place  segment  document  weight  token → target"]
        for place_number, (token, target, segment, document, weight) in enumerate(
            zip(
                batch.tokens[row].tolist(),
                batch.targets[row].tolist(),
                batch.segments[row].tolist(),
                windows.documents[row].tolist(),
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
