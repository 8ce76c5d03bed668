"""A whole run: from a recipe to a run folder, begun or gone on with."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from rootlm.core import config, device, energy, files, normal, records
from rootlm.core.progress import Progress
from rootlm.core.run_report import REFERENCE, run_report
from rootlm.core.workers import Workers, whole
from rootlm.generation.sampling import to_generation_config
from rootlm.models.catalog import save_model, weights
from rootlm.models.interface import LanguageModel, Network
from rootlm.runs.material import Material, gather
from rootlm.runs.model_card import model_card
from rootlm.runs.prepared import PeakMemory, Prepared, decide, measure, needs_measure, prepare, running
from rootlm.runs.recipe import Recipe, read_reference
from rootlm.runs.watching import Watch, tracker_callbacks
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.training.checkpoints import Checkpoints
from rootlm.training.trainer import Trainer

RECIPE, REQUEST, METRICS, CARD = "recipe.yaml", "request.json", "metrics.jsonl", "README.md"
GENERATION_CONFIG = "generation_config.json"


def train(recipe: Recipe, say: Callable[[str], None] = print) -> Path:
    """Run a recipe, or go on with the run in its folder; returns the folder.

    Raises ValueError when the folder holds another run, and for everything a person can mend;
    KeyboardInterrupt when a signal stopped it, with everything saved.
    """
    folder, memory = Path(recipe.out), PeakMemory()
    request = config.to_plain(recipe)
    begun = (folder / RECIPE).exists()
    if begun:
        _same_request(request, _first_request(folder), folder)
        recipe = config.load(Recipe, folder / RECIPE)
    with running(recipe) as (place, workers), files.locked(folder) if workers.is_first else nullcontext():
        if begun:
            material = gather(recipe, folder, workers, Tokenizer.load(folder))
            _same_material(material, folder)
            prepared = Prepared(recipe, folder, material, place, workers)
        else:
            workers.first_does(lambda: _claim(folder, request))
            prepared = _begin(prepare(recipe, folder, place, workers), request)
        finished = _fit(prepared, say if workers.is_first else _say_nothing, memory)
    if not finished:
        raise KeyboardInterrupt
    return folder


def _claim(folder: Path, request: dict[str, Any]) -> None:
    """Note what was asked before anything is made; drop what an earlier, unfinished start made for another."""
    held = files.read_json(folder / REQUEST) if (folder / REQUEST).exists() else None
    if held is not None and held["recipe"] != request:
        shutil.rmtree(folder / "tokenizer", ignore_errors=True)
    files.write_json(folder / REQUEST, {"recipe": request})


def _begin(prepared: Prepared, request: dict[str, Any]) -> Prepared:
    folder, material = prepared.folder, prepared.material
    prepared = decide(prepared, measure(prepared) if needs_measure(prepared) else None)

    def write() -> None:
        material.tokenizer.save(folder)
        read = {
            "corpora": [corpus.fingerprint for corpus in material.corpora],
            "tokenizer": material.tokenizer.fingerprint,
        }
        files.write_json(folder / REQUEST, {"recipe": request, **read})
        files.write_json(folder / GENERATION_CONFIG, _generation_config(prepared))
        if prepared.recipe.reference:
            normal.write_reference(folder / REFERENCE, read_reference(prepared.recipe.reference))
        files.write_text(folder / RECIPE, config.to_yaml(prepared.recipe))

    prepared.workers.first_does(write)
    return prepared


def _first_request(folder: Path) -> dict[str, Any]:
    held: dict[str, Any] = files.read_json(folder / REQUEST)
    return held


def _same_request(asked: dict[str, Any], first: dict[str, Any], folder: Path) -> None:
    now, then = _flat(asked), _flat(first["recipe"])
    changed = sorted(
        key for key in now.keys() | then.keys() if now.get(key) != then.get(key) and key != "out"
    )
    if changed:
        key = changed[0]
        raise ValueError(
            f"{folder}: was begun with {key}={then.get(key)}, now it is {now.get(key)}; "
            "choose another out= (init_from= goes on from its weights) or give the first value"
        )


def _same_material(material: Material, folder: Path) -> None:
    first = _first_request(folder)
    if material.tokenizer.fingerprint != first["tokenizer"]:
        raise ValueError(
            f"{folder / 'tokenizer.json'}: is not the tokenizer that this run was begun with; "
            "bring it back or choose another out="
        )
    for corpus, fingerprint in zip(material.corpora, first["corpora"], strict=True):
        if corpus.fingerprint != fingerprint:
            raise ValueError(
                f"{corpus.folder}: holds other documents than when {folder} was begun; "
                "choose another out= (init_from= goes on from its weights) or bring the corpus back"
            )


def _fit(prepared: Prepared, say: Callable[[str], None], memory: PeakMemory) -> bool:
    """Train to the end or until asked to stop; returns True when finished."""
    recipe, folder, workers = prepared.recipe, prepared.folder, prepared.workers
    steps = recipe.training.max_steps
    assert steps is not None
    checkpoints = Checkpoints(folder / "checkpoints", recipe.training.keep)
    trainer = prepared.trainer(steps)
    found = workers.agree(checkpoints.steps())
    if found:
        trainer.restore(checkpoints.load(found[-1]))
    standing = trainer.standing
    if trainer.finished and workers.agree(_is_ended(folder)):
        workers.first_does(lambda: run_report(folder))
        say(f"{folder}: finished, {standing.step} of {steps} steps; choose another out= to train anew")
        return True
    if found:
        say(f"{folder}: goes on from step {standing.step} of {steps}")
    workers.first_does(checkpoints.tidy)
    with _speaking(prepared, steps, standing.step) as (log, progress):
        watch = _watch(prepared, trainer, log, progress)
        memory.forget(prepared.device)
        meter = energy.Meter(gpu=prepared.device.card)
        if log is not None and not _is_started(folder):
            log.write(_start_record(prepared, trainer, steps))
        with _signals(trainer):
            finished = trainer.run(watch, checkpoints)
        if standing.best_step is None:
            _keep(trainer.model, folder, workers)
        if log is not None:
            log.write(_end_record(trainer, finished, meter.read(), memory.read(prepared.device)))
    workers.first_does(lambda: _report(prepared))
    if not finished:
        say(f"stopped and saved at step {standing.step} of {steps}; the same command goes on from there")
        return False
    if standing.step < steps:
        say(f"no better for {standing.waited} validations, so it ended at step {standing.step} of {steps}")
    if (folder / REFERENCE).exists() and workers.is_first:
        reference = normal.read_reference(folder / REFERENCE)
        say(normal.judge(records.read(folder / METRICS), reference).sentence)
    say(f"the model is in {folder}; the report is {folder / 'report.html'}")
    return True


def _watch(
    prepared: Prepared, trainer: Trainer, log: records.Records | None, progress: Progress | None
) -> Watch:
    recipe, material, workers = prepared.recipe, prepared.material, prepared.workers
    looked_at, model = recipe.validation, trainer.model
    if recipe.samples.prompts and not isinstance(model, LanguageModel):
        raise ValueError(f"samples.prompts: a {model.config.kind} cannot write text; set samples.prompts=[]")
    held_out = None
    if looked_at.split is not None:
        held_out = material.held_out_for(recipe, looked_at.split, prepared.window)
    return Watch(
        recipe=recipe,
        model=model,
        objective=trainer.objective,
        material=material,
        workers=workers,
        device=prepared.device,
        records=log,
        progress=progress,
        keep_best=lambda: _keep(model, prepared.folder, workers),
        peak_flops=device.measured_peak_flops(prepared.device),
        bytes_per_token=material.bytes_per_token(),
        held_out=held_out,
        window=prepared.window,
        trackers=tracker_callbacks(recipe, prepared.folder) if workers.is_first else [],
    )


def _generation_config(prepared: Prepared) -> dict[str, Any]:
    tokenizer = prepared.material.tokenizer
    ids = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
    kept = {name: number for name, number in ids.items() if number is not None}
    return {**to_generation_config(prepared.recipe.samples.sampling), **kept}


def _report(prepared: Prepared) -> None:
    folder = prepared.folder
    run_report(folder)
    held = records.read(folder / METRICS)
    files.write_text(folder / CARD, model_card(prepared, held))


def _is_started(folder: Path) -> bool:
    return bool(records.of_kind(records.read(folder / METRICS), "start"))


def _is_ended(folder: Path) -> bool:
    ends = records.of_kind(records.read(folder / METRICS), "end") if (folder / METRICS).exists() else []
    return bool(ends) and bool(ends[-1]["finished"])


def _start_record(prepared: Prepared, trainer: Trainer, steps: int) -> dict[str, Any]:
    return {
        "kind": "start",
        "step": 0,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "steps": steps,
        "device": prepared.device.name,
        "precision": prepared.device.precision,
        "threads": torch.get_num_threads(),
        "workers": prepared.workers.count,
        "tokenizer": prepared.material.tokenizer.fingerprint,
    }


def _end_record(trainer: Trainer, finished: bool, used: energy.Energy, peak_bytes: int) -> dict[str, Any]:
    return {
        "kind": "end",
        "step": trainer.standing.step,
        "seconds": trainer.standing.seconds,
        "finished": finished,
        "energy_joules": used.joules,
        "energy_source": used.source,
        "best_step": trainer.standing.best_step,
        "peak_memory_mb": round(peak_bytes / 1e6),
    }


def _keep(model: Network, folder: Path, workers: Workers) -> None:
    stored = {name: whole(tensor.detach()) for name, tensor in weights(model).items()}
    workers.first_does(lambda: save_model(model, folder, stored))


@contextmanager
def _speaking(
    prepared: Prepared, steps: int, step: int
) -> Iterator[tuple[records.Records | None, Progress | None]]:
    if not prepared.workers.is_first:
        yield None, None
        return
    with records.reopen(prepared.folder / METRICS, step) as log, Progress(steps, start_step=step) as progress:
        yield log, progress


@contextmanager
def _signals(trainer: Trainer) -> Iterator[None]:
    def ask(number: int, frame: object) -> None:
        if trainer.stop_asked:
            raise KeyboardInterrupt
        trainer.stop_asked = True

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _say_nothing(_: str) -> None:
    """Leave speaking to the first worker."""


def _flat(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
