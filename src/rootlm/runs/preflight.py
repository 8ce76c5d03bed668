"""Before a run: what it will take, from its own first steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from rootlm.core import config, files, machine
from rootlm.core.progress import duration, short_number
from rootlm.runs.fitting import Measured, Prepared, decide, measure, prepare, running
from rootlm.runs.recipe import Recipe


def preflight(recipe: Recipe) -> str:
    """Return the resolved recipe and what running it takes; nothing is kept.

    Memory is the highest of a few real steps above what the imports took; time is the fastest of them.
    """
    with TemporaryDirectory(prefix="rootlm-preflight-") as temporary, running(recipe) as (place, workers):
        prepared = prepare(recipe, Path(temporary), place, workers)
        machine.forget_peak_memory()
        before = machine.resident_memory()
        measured = measure(prepared)
        prepared = decide(prepared, measured)
        rows = _rows(prepared, measured, before)
    width = max(map(len, rows))
    lines = [f"{name:<{width}}  {value}" for name, value in rows.items()]
    return "\n".join([config.to_yaml(prepared.recipe), *lines])


def _rows(prepared: Prepared, measured: Measured, before: int) -> dict[str, str]:
    training = prepared.recipe.training
    steps = training.max_steps
    assert steps is not None
    trainer = prepared.trainer(steps)
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    tokens = trainer.loader.places_per_step
    checkpoint = parameters * 4 * 3
    kept = checkpoint * (training.keep + 2)
    free = files.free_bytes(prepared.folder if prepared.folder.exists() else Path())
    show: Callable[[float], str] = short_number
    return {
        "parameters": show(parameters),
        "vocabulary": f"{prepared.material.tokenizer.vocab_size:,}",
        "device": f"{prepared.device.torch.type}, {prepared.device.precision}: {prepared.device.why}",
        "peak memory": f"{(measured.peak_bytes - before) / 1e6:,.0f} MB above the imports",
        "steps": f"{steps:,}, {show(tokens)} tokens each",
        "tokens": f"{show(steps * tokens)}, {steps / trainer.loader.steps_per_epoch:.2f} epochs",
        "time": f"{duration(steps * measured.step_seconds)} at {show(tokens / measured.step_seconds)} tokens/s",
        "disk": f"up to {kept / 1e6:,.0f} MB for {training.keep + 2} checkpoints, {free / 1e9:,.1f} GB free",
    }
