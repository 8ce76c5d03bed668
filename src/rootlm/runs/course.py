"""What a run tells about itself, however it learns: its records, its looks at held-out text, its card and report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rootlm.core import device, energy, files, records
from rootlm.core.progress import Progress
from rootlm.core.run_report import run_report
from rootlm.core.workers import Workers, whole
from rootlm.models.catalog import learned, save_model
from rootlm.models.interface import LanguageModel, Network, SourceModel
from rootlm.objectives.objective import Objective
from rootlm.runs.generalisation import judge, texts_of
from rootlm.runs.model_card import model_card
from rootlm.runs.opened import load
from rootlm.runs.prepared import Prepared
from rootlm.runs.watching import Watch, tracker_callbacks
from rootlm.text.document import SPLITS
from rootlm.training.trainer import Standing

METRICS, CARD = "metrics.jsonl", "README.md"


def watch(
    prepared: Prepared,
    model: Network,
    objective: Objective,
    said: tuple[records.Records | None, Progress | None],
) -> Watch:
    """Return what looks at a model while it learns; `said` is where records and progress go, if anywhere."""
    recipe, material, workers = prepared.recipe, prepared.material, prepared.workers
    looked_at, (log, progress) = recipe.validation, said
    if recipe.samples.prompts and not isinstance(model, LanguageModel):
        raise ValueError(f"samples.prompts: a {model.config.kind} cannot write text; set samples.prompts=[]")
    if recipe.samples.sources and not isinstance(model, SourceModel):
        raise ValueError(f"samples.sources: a {model.config.kind} reads no source; set samples.sources=[]")
    held_out = None
    if looked_at.split is not None:
        held_out = prepared.reader.held_out(material, recipe, looked_at.split, prepared.window)
    return Watch(
        recipe=recipe,
        model=model,
        objective=objective,
        material=material,
        workers=workers,
        device=prepared.device,
        records=log,
        progress=progress,
        keep_best=lambda: keep(model, prepared.folder, workers),
        peak_flops=device.measured_peak_flops(prepared.device),
        bytes_per_token=material.bytes_per_token() if recipe.objective.measures_text else None,
        held_out=held_out,
        trackers=tracker_callbacks(recipe, prepared.folder) if workers.is_first else [],
    )


def report(prepared: Prepared) -> None:
    """Write `report.html` and the card."""
    folder = prepared.folder
    run_report(folder)
    held = records.read(folder / METRICS)
    files.write_text(folder / CARD, model_card(prepared, held))


def start_record(prepared: Prepared, model: Network, steps: int) -> dict[str, Any]:
    """Return what a run says before its first step."""
    return {
        "kind": "start",
        "step": 0,
        "parameters": model.n_parameters(),
        **_share(model),
        "steps": steps,
        "device": prepared.device.name,
        "precision": prepared.device.precision,
        "threads": torch.get_num_threads(),
        "workers": prepared.workers.count,
        "tokenizer": prepared.material.tokenizer.fingerprint,
    }


def _share(model: Network) -> dict[str, int]:
    if model.adaptation is None:
        return {}
    return {"learned_parameters": sum(tensor.numel() for tensor in learned(model).values())}


def end_record(standing: Standing, finished: bool, used: energy.Energy, peak_bytes: int) -> dict[str, Any]:
    """Return what a run says at its end."""
    return {
        "kind": "end",
        "step": standing.step,
        "seconds": standing.seconds,
        "finished": finished,
        "energy_joules": used.joules,
        "energy_source": used.source,
        "best_step": standing.best_step,
        "peak_memory_mb": round(peak_bytes / 1e6),
    }


def generalise(prepared: Prepared, step: int, log: records.Records) -> None:
    """Record how the run's model does on text it has read and on text it has not, where it says that in bits."""
    recipe, asked = prepared.recipe, prepared.recipe.validation
    if not asked.final_bytes or not recipe.objective.measures_text:
        return
    corpora, seed = prepared.material.corpora, recipe.training.seed
    run = load(prepared.folder, device=str(prepared.device.torch), precision="float32")
    texts = texts_of(corpora, SPLITS, asked.out_of_domain, most_bytes=asked.final_bytes, seed=seed)
    for one in judge(run, texts, seed):
        log.write({"kind": "generalisation", "step": step, **one.to_plain()})


def keep(model: Network, folder: Path, workers: Workers) -> None:
    """Save the model into the run folder."""
    stored = {name: whole(tensor.detach()) for name, tensor in learned(model).items()}
    workers.first_does(lambda: save_model(model, folder, stored))


@contextmanager
def speaking(
    prepared: Prepared, steps: int, step: int
) -> Iterator[tuple[records.Records | None, Progress | None]]:
    """Yield where records and progress go: nowhere for any worker but the first."""
    if not prepared.workers.is_first:
        yield None, None
        return
    with records.reopen(prepared.folder / METRICS, step) as log, Progress(steps, start_step=step) as progress:
        yield log, progress
