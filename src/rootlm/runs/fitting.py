"""A whole run: from a recipe to a run folder, begun or gone on with."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rootlm.core import config, device, energy, files, machine, records
from rootlm.core.device import Device
from rootlm.core.progress import Progress
from rootlm.core.workers import Workers, join, shard, whole
from rootlm.models.catalog import fill, load_model, read_weights, save_model, weights
from rootlm.models.interface import LanguageModel
from rootlm.runs.material import Material, gather
from rootlm.runs.recipe import Recipe, with_changes
from rootlm.core.run_report import run_report
from rootlm.runs.watching import Watch, tracker_callbacks
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.training.checkpoints import Checkpoints
from rootlm.training.trainer import Trainer

RECIPE, REQUEST, METRICS, REPORT = "recipe.yaml", "request.json", "metrics.jsonl", "report.html"
_MEASURED_STEPS = 4
_COMPILE_PAYS_SECONDS = 900


@dataclass(frozen=True)
class Prepared:
    """A recipe with all that follows from it, before the first step."""

    recipe: Recipe
    folder: Path
    material: Material
    device: Device
    workers: Workers

    def model(self) -> LanguageModel:
        """Return the network with the weights it starts from, placed for training."""
        training = self.recipe.training
        torch.manual_seed(training.seed)
        model = self.recipe.model.build(self.material.tokenizer.vocab_size)
        if self.recipe.init_from:
            origin = Path(self.recipe.init_from) / "model.safetensors"
            fill(model, read_weights(origin), origin)
        model.to(self.device.torch)
        model.stream_dtype = None if self.device.precision == "float32" else self.device.dtype
        if training.parallel == "sharded":
            shard(model, self.workers, self.device.torch, self.device.dtype)
        if training.compile is True:
            for block in getattr(model, "blocks", []):
                block.compile()
        return model

    def trainer(self, steps: int) -> Trainer:
        """Return a trainer that stands before the first step."""
        training, model = self.recipe.training, self.model()
        context = model.context or 256
        loader = self.material.loader(context, training.batch_size, training.seed)
        if training.optimizer.kind == "gradient_descent":
            loader.rows = sum(source.per_epoch for source in loader.sources)
        objective = self.recipe.objective.build()
        place = (self.device, self.workers)
        return Trainer(model, objective, loader, training, steps=steps, place=place)


@dataclass(frozen=True)
class Measured:
    """What a few real steps took."""

    step_seconds: float
    peak_bytes: int


def train(recipe: Recipe, say: Callable[[str], None] = print) -> Path:
    """Run a recipe, or go on with the run in its folder; returns the folder.

    Raises ValueError when the folder holds another run, and for everything a person can mend.
    """
    folder = Path(recipe.out)
    begun = (folder / RECIPE).exists()
    if begun:
        _same_request(config.to_plain(recipe), files.read_json(folder / REQUEST), folder)
        recipe = config.load(Recipe, folder / RECIPE)
    with running(recipe) as (place, workers):
        with files.locked(folder) if workers.is_first else nullcontext():
            if begun:
                material = gather(recipe, folder, workers, Tokenizer.load(folder))
                prepared = Prepared(recipe, folder, material, place, workers)
            else:
                prepared = _begin(recipe, folder, place, workers)
            _fit(prepared, say)
    return folder


def prepare(recipe: Recipe, folder: Path, place: Device, workers: Workers) -> Prepared:
    """Open or make all that a run reads, and write out what follows from the machine and from `init_from`."""
    tokenizer = None
    if recipe.init_from:
        origin = Path(recipe.init_from)
        tokenizer = Tokenizer.load(origin)
        recipe = recipe.model_copy(update={"model": load_model(origin).config})
    material = gather(recipe, folder, workers, tokenizer)
    recipe = with_changes(
        recipe.model_copy(update={"model": recipe.model.resolved()}), training={"precision": place.precision}
    )
    return Prepared(recipe, folder, material, place, workers)


def measure(prepared: Prepared) -> Measured:
    """Take a few steps on a model that is then thrown away."""
    trainer = prepared.trainer(steps=1_000_000)
    seconds = []
    for _ in range(_MEASURED_STEPS):
        started = time.perf_counter()
        trainer.step()
        device.synchronize(prepared.device)
        seconds.append(time.perf_counter() - started)
    if prepared.device.torch.type == "cuda":
        return Measured(min(seconds[1:]), torch.cuda.max_memory_allocated())
    return Measured(min(seconds[1:]), machine.peak_memory())


def decide(prepared: Prepared, measured: Measured | None) -> Prepared:
    """Turn minutes or epochs into steps, and `auto` into yes or no: once, for this run and all its resumes."""
    training = prepared.recipe.training
    steps = training.max_steps
    if steps is None and training.minutes is not None:
        assert measured is not None
        steps = max(1, round(training.minutes * 60 / measured.step_seconds))
    if steps is None:
        assert training.epochs is not None
        steps = max(1, round(training.epochs * prepared.trainer(1).loader.steps_per_epoch))
    compiled = training.compile
    if compiled == "auto":
        expected = steps * measured.step_seconds if measured else 0.0
        compiled = expected > _COMPILE_PAYS_SECONDS and can_compile(prepared.device)
    decided = {"max_steps": steps, "minutes": None, "epochs": None, "compile": compiled}
    recipe = with_changes(prepared.recipe, training=prepared.workers.agree(decided))
    return Prepared(recipe, prepared.folder, prepared.material, prepared.device, prepared.workers)


def can_compile(place: Device) -> bool:
    """Tell whether torch.compile has what it needs here: a C++ compiler and Python's headers, or a CUDA device."""
    import shutil
    import sysconfig

    if place.torch.type == "cuda":
        return True
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return place.torch.type == "cpu" and shutil.which("g++") is not None and headers.exists()


def _begin(recipe: Recipe, folder: Path, place: Device, workers: Workers) -> Prepared:
    prepared = prepare(recipe, folder, place, workers)
    training = recipe.training
    needs_measure = training.max_steps is None and training.minutes is not None
    if needs_measure or (training.compile == "auto" and can_compile(place)):
        prepared = decide(prepared, measure(prepared))
    else:
        prepared = decide(prepared, None)

    def write() -> None:
        prepared.material.tokenizer.save(folder)
        files.write_json(folder / REQUEST, config.to_plain(recipe))
        files.write_text(folder / RECIPE, config.to_yaml(prepared.recipe))

    workers.first_does(write)
    return prepared


def _same_request(asked: dict[str, Any], first: dict[str, Any], folder: Path) -> None:
    now, then = _flat(asked), _flat(first)
    changed = sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key) and key != "out")
    if changed:
        key = changed[0]
        raise ValueError(
            f"{folder}: was begun with {key}={then.get(key)}, now it is {now.get(key)}; "
            "choose another out= (init_from= goes on from its weights) or give the first value"
        )


def _fit(prepared: Prepared, say: Callable[[str], None]) -> None:
    recipe, folder, workers = prepared.recipe, prepared.folder, prepared.workers
    steps = recipe.training.max_steps
    assert steps is not None
    checkpoints = Checkpoints(folder / "checkpoints", recipe.training.keep)
    trainer = prepared.trainer(steps)
    found = checkpoints.steps()
    if found:
        trainer.restore(checkpoints.load(found[-1]))
        if trainer.standing.step >= steps:
            say(f"{folder}: finished, {steps} steps")
            return
        say(f"{folder}: goes on from step {trainer.standing.step} of {steps}")
    workers.first_does(checkpoints.tidy)
    standing = trainer.standing
    held_out = prepared.material.held_out(recipe.validation.split, recipe.validation.tokens, recipe.training.seed)
    with _speaking(prepared, steps, standing.step) as (log, progress):
        watch = Watch(
            recipe=recipe,
            model=trainer.model,
            material=prepared.material,
            workers=workers,
            device=prepared.device,
            records=log,
            progress=progress,
            keep_best=lambda: _keep(trainer.model, folder, workers),
            peak_flops=device.measured_peak_flops(prepared.device),
            bytes_per_token=prepared.material.bytes_per_token(),
            held_out=held_out,
            trackers=tracker_callbacks(recipe, folder) if workers.is_first else [],
        )
        meter = energy.Meter()
        if log is not None and standing.step == 0:
            log.write(_start_record(prepared, trainer, steps))
        with _signals(trainer):
            finished = trainer.run(watch, checkpoints)
        used = meter.read()
        if log is not None:
            ended = {"kind": "end", "step": standing.step, "seconds": standing.seconds, "finished": finished}
            log.write({**ended, "energy_joules": used.joules, "energy_source": used.source, "best_step": standing.best_step})
    if standing.best_step is None:
        _keep(trainer.model, folder, workers)
    workers.first_does(lambda: run_report(folder))
    if not finished and workers.is_first:
        say(f"stopped and saved at step {standing.step} of {steps}; the same command goes on from there")


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


def _keep(model: LanguageModel, folder: Path, workers: Workers) -> None:
    stored = {name: whole(tensor.detach()) for name, tensor in weights(model).items()}
    workers.first_does(lambda: save_model(model, folder, stored))


@contextmanager
def _speaking(prepared: Prepared, steps: int, step: int) -> Iterator[tuple[records.Records | None, Progress | None]]:
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


@contextmanager
def running(recipe: Recipe) -> Iterator[tuple[Device, Workers]]:
    """Yield where and among whom a recipe runs, with torch set to give the same bits each time."""
    training = recipe.training
    place = device.choose(training.device, training.precision)
    workers = join(place.torch.type)
    if place.torch.type == "cuda" and workers.count > 1:
        place = device.choose(f"cuda:{workers.local_rank}", training.precision)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(training.deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield place, workers
    finally:
        torch.use_deterministic_algorithms(before)
        workers.close()


def _flat(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value
    return found
