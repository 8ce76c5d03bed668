"""A recipe with all that follows from it before the first step: device, material, model, what is decided once."""

from __future__ import annotations

import os
import shutil
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rootlm.core import device, machine
from rootlm.core.allocator import keep_freed_memory
from rootlm.core.config import to_plain
from rootlm.core.device import Device
from rootlm.core.workers import Workers, join, shard
from rootlm.data.windows import Feed
from rootlm.layers.adapters import adapt
from rootlm.models.adaptation import Adaptation, base_of
from rootlm.models.adapted import begin_adapter
from rootlm.models.catalog import CONFIG, ModelConfig, fill, read_saved, read_tensors, weights
from rootlm.models.foreign.hugging_face_folder import is_published
from rootlm.models.foreign.peft_settings import is_peft
from rootlm.models.interface import Encoder, LanguageModel, Network, SourceModel
from rootlm.objectives.objective import Vocabulary
from rootlm.runs.feeds import READERS
from rootlm.runs.material import Material, gather
from rootlm.runs.reader import Reader
from rootlm.runs.recipe import Recipe, with_changes
from rootlm.runs.vectors_start import Start, start_of
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.training.fitters import fitter
from rootlm.training.trainer import Trainer

_OTHERS: dict[type, str] = {
    Encoder: "set model.kind=encoder",
    SourceModel: "set model.kind=encoder_decoder",
    LanguageModel: "set objective.kind=masked or another model.kind",
}
_MEASURED_STEPS = 4
_MEASURED_OF_MANY_SHAPES = 16
_WINDOW = 256
_LONGEST_UNASKED = 8192
_COMPILE_PAYS_SECONDS = 300


@dataclass(frozen=True)
class Prepared:
    """A recipe, opened: all that a run reads, and where and among whom it runs."""

    recipe: Recipe
    folder: Path
    material: Material
    device: Device
    workers: Workers
    start: Start | None = None
    """The word vectors that the embedding begins with, if any."""

    def model(self) -> Network:
        """Return the network with the weights it starts from, placed for training."""
        training = self.recipe.training
        torch.manual_seed(training.seed)
        model = self.recipe.model.build(self.vocab_size)
        if self.recipe.init_from:
            origin = Path(self.recipe.init_from)
            held = read_tensors(origin)
            fresh = {n: t for n, t in weights(model).items() if n.startswith(self.recipe.model.added)}
            fill(model, {**fresh, **held}, origin)
            if self.recipe.adapter:
                # Opening a base may have drawn numbers; what an adapter begins with depends on the seed alone.
                torch.manual_seed(training.seed)
                how = Adaptation(settings=self.recipe.adapter, base=base_of(origin))
                begin_adapter(model, how, fresh.keys() - held.keys())
        if self.start:
            self.start.fill(model)
        model.to(self.device.torch)
        model.stream_dtype = None if self.device.precision == "float32" else self.device.dtype
        if training.parallel == "sharded":
            shard(
                model,
                model.compiled_parts(),
                self.workers,
                device=self.device.torch,
                dtype=self.device.dtype,
            )
        if training.compile is True:
            # One graph per shape: a graph for any shape, made in the second step, would make a resume differ.
            for part in model.compiled_parts():
                part.compile(dynamic=False)
        return model

    @property
    def vocab_size(self) -> int:
        """Ids the model knows: the tokenizer's, and where a published model has more, those."""
        own = self.material.tokenizer.vocab_size
        return max(own, read_saved(Path(self.recipe.init_from)).vocab_size) if self.recipe.init_from else own

    @property
    def window(self) -> int:
        """Tokens in a window; raises ValueError when the model cannot read that many."""
        asked, reach = self.recipe.training.window, self.recipe.model.reach
        if asked is not None and reach is not None and asked > reach:
            raise ValueError(f"training.window {asked} is longer than the model's context of {reach}")
        if asked is None and reach is not None and reach > _LONGEST_UNASKED:
            raise ValueError(
                f"training.window: this model reads up to {reach:,} tokens, too many to train on unasked; "
                "set training.window=1024 or what you mean"
            )
        return asked or reach or _WINDOW

    def feed(self) -> Feed:
        """Return what the training steps read."""
        return self.reader.feed(self.material, self.recipe, self.window)

    @property
    def reader(self) -> Reader:
        """What makes the kind of reading that the objective asks for."""
        return READERS[self.recipe.objective.reads]

    def trainer(self, steps: int) -> Trainer:
        """Return a trainer that stands before the first step."""
        training, model = self.recipe.training, self.model()
        asked = self.recipe.objective
        if not isinstance(model, asked.asks):
            raise ValueError(
                f"objective.kind={asked.kind} cannot be asked of model.kind={model.config.kind}; "
                f"{_OTHERS.get(asked.asks, 'choose another')}"
            )
        objective = asked.build()
        place = (self.device, self.workers)
        return Trainer(model, objective, self.feed(), training, steps=steps, place=place)


@dataclass(frozen=True)
class Measured:
    """What a few real steps took."""

    step_seconds: float
    trainer: Trainer
    """The trainer that took them; to be thrown away."""


def prepare(recipe: Recipe, folder: Path, place: Device, workers: Workers) -> Prepared:
    """Open or make all that a run reads, and write out what follows from the machine and from `init_from`."""
    origin = None
    if recipe.init_from:
        origin = Path(recipe.init_from)
        if is_peft(origin):
            raise ValueError(
                f"{origin}: holds adapters of PEFT's alone; rootlm import {origin} out=RUN, then init_from=RUN"
            )
        if not (origin / CONFIG).is_file() and not is_published(origin):
            raise ValueError(
                f"{origin}: init_from names no finished run; give the out folder of a rootlm train, or a folder of "
                "Hugging Face's"
            )
        recipe = recipe.model_copy(update={"model": _model_of(origin, recipe)})
    material = gather(recipe, folder, workers, origin)
    _check_tokenizers(recipe, material)
    objective = recipe.objective.fitted(_vocabulary(material.tokenizer, recipe))
    network = objective.network(_reading(recipe, material)).resolved()
    recipe = recipe.model_copy(update={"model": network, "objective": objective})
    start = start_of(recipe.embedding, material.tokenizer)
    if start is not None:
        with torch.device("meta"):
            start.check(network.build(material.tokenizer.vocab_size))
    if recipe.adapter is not None:
        with torch.device("meta"):
            adapt(network.build(material.tokenizer.vocab_size), recipe.adapter)
    recipe = with_changes(recipe, training={"precision": place.precision})
    return Prepared(recipe, folder, material, place, workers, start)


def _reading(recipe: Recipe, material: Material) -> ModelConfig:
    """Return the network for the ids that sources have."""
    network = recipe.model
    if recipe.source_tokenizer is None and material.source_tokenizer is not None:
        return network  # of the run that it begins with, which may have one table for both sides
    if material.source_tokenizer is not None:
        return network.reading(material.source_tokenizer.vocab_size)
    if getattr(network, "source_vocab_size", None) is not None:
        raise ValueError("model.source_vocab_size follows from a tokenizer; set source_tokenizer instead")
    return network


def _vocabulary(tokenizer: Tokenizer, recipe: Recipe) -> Vocabulary:
    return Vocabulary(
        size=tokenizer.vocab_size,
        bos_id=tokenizer.bos_id,
        eos_id=tokenizer.eos_id,
        special_ids=sorted(tokenizer.special_ids),
        mask_id=tokenizer.mask_id,
        asked=tuple(tokenizer.ids_of(recipe.objective.special_tokens)),
    )


def _check_tokenizers(recipe: Recipe, material: Material) -> None:
    own = material.tokenizer.fingerprint
    for name in recipe.objective.same_tokenizer:
        other = Tokenizer.load(Path(name)).fingerprint
        if other != own:
            raise ValueError(
                f"objective.{recipe.objective.kind}: {name} has the tokenizer {other[:12]}…, this run {own[:12]}…; "
                f"set tokenizer={name}"
            )


def _model_of(origin: Path, recipe: Recipe) -> ModelConfig:
    """Return the network of a run; raises ValueError when the recipe asks for another one."""
    network = read_saved(origin).model
    if recipe.model != type(recipe.model)():
        asked, found = to_plain(recipe.model.resolved()), to_plain(network)
        for key, value in found.items():
            if asked.get(key) != value and key not in network.free:
                raise ValueError(
                    f"init_from {origin}: its model has {key}={value}, the recipe says {asked.get(key)}; "
                    "leave out model.*, or train from fresh weights"
                )
        network = network.model_copy(update={key: getattr(recipe.model, key) for key in network.free})
    return network


def measure(prepared: Prepared) -> Measured:
    """Take a few steps on a model that is then thrown away."""
    trainer = prepared.trainer(steps=1_000_000)
    seconds = []
    alike = prepared.reader.shapes_stay
    for _ in range(_MEASURED_STEPS if alike else _MEASURED_OF_MANY_SHAPES):
        started = time.perf_counter()
        trainer.step()
        device.synchronize(prepared.device)
        seconds.append(time.perf_counter() - started)
    # Of like steps the fastest was disturbed least; of unlike ones it may only have been the smallest.
    return Measured(min(seconds[1:]) if alike else sum(seconds[4:]) / len(seconds[4:]), trainer)


def needs_measure(prepared: Prepared) -> bool:
    """Tell whether something can only be decided from measured steps."""
    training = prepared.recipe.training
    if fitter(prepared.recipe.model) is not None:
        return False
    by_time = training.max_steps is None and training.minutes is not None
    return by_time or (training.compile == "auto" and _may_compile(prepared))


def decide(prepared: Prepared, measured: Measured | None) -> Prepared:
    """Turn minutes or epochs into steps, `auto` into yes or no: once, for this run and all its resumes."""
    training = prepared.recipe.training
    steps = training.max_steps if fitter(prepared.recipe.model) is None else 1
    if steps is None and training.minutes is not None:
        assert measured is not None
        steps = max(1, round(training.minutes * 60 / measured.step_seconds))
    if steps is None:
        assert training.epochs is not None
        steps = max(1, round(training.epochs * prepared.feed().steps_per_epoch))
    compiled = training.compile
    if compiled == "auto":
        expected = steps * measured.step_seconds if measured else 0.0
        compiled = expected > _COMPILE_PAYS_SECONDS and _may_compile(prepared)
    decided = {
        "max_steps": steps,
        "minutes": None,
        "epochs": None,
        "compile": compiled,
        "threads": training.threads or torch.get_num_threads(),
    }
    return replace(prepared, recipe=with_changes(prepared.recipe, training=prepared.workers.agree(decided)))


def _may_compile(prepared: Prepared) -> bool:
    # A graph for every shape costs more than it gives where the shapes change from step to step.
    return prepared.reader.shapes_stay and can_compile(prepared.device)


def can_compile(place: Device) -> bool:
    """Tell whether torch.compile has what it needs: a C++ compiler and Python's headers, or a CUDA device."""
    if place.torch.type == "cuda":
        return True
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return place.torch.type == "cpu" and shutil.which("g++") is not None and headers.exists()


class PeakMemory:
    """The most memory used since `forget`, above what this process held when this was made."""

    def __init__(self) -> None:
        self._before = machine.resident_memory()

    def forget(self, place: Device) -> None:
        """Count from now on."""
        if place.torch.type == "cuda":
            torch.cuda.reset_peak_memory_stats(place.torch)
        machine.forget_peak_memory()

    def read(self, place: Device) -> int:
        """Return bytes: the card's where one computes, else the process's."""
        if place.torch.type == "cuda":
            return torch.cuda.max_memory_allocated(place.torch)
        return machine.peak_memory() - self._before


@contextmanager
def running(recipe: Recipe) -> Iterator[tuple[Device, Workers]]:
    """Yield where and among whom a recipe runs, with torch set to give the same bits each time."""
    training = recipe.training
    place = device.choose(training.device, training.precision)
    if training.compile is True and not can_compile(place):
        raise ValueError(
            "training.compile=true needs a C++ compiler (g++) and Python's headers (python3-dev); "
            "install both, or set training.compile=false"
        )
    workers = join(place.torch.type)
    if place.torch.type == "cuda" and workers.count > 1:
        place = device.choose(f"cuda:{workers.local_rank}", training.precision)
    if training.deterministic and place.torch.type == "cuda":
        # cuBLAS gives the same bits only when told so before its first product.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    threads = torch.get_num_threads()
    if training.threads is not None and workers.count == 1:
        torch.set_num_threads(training.threads)
    keep_freed_memory()
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(training.deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield place, workers
    finally:
        torch.use_deterministic_algorithms(before)
        torch.set_num_threads(threads)
        workers.close()
