"""A recipe with all that follows from it before the first step: device, material, model, what is decided once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from rootlm.core import device
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
from rootlm.objectives.contrastive import ContrastiveConfig
from rootlm.objectives.objective import Vocabulary
from rootlm.runs.feeds import READERS
from rootlm.runs.material import Material, gather
from rootlm.runs.reader import Reader
from rootlm.runs.recipe import ObjectiveConfig, Recipe, with_changes
from rootlm.runs.sentence_folders import SentenceWay, sentence_way
from rootlm.runs.vectors_start import Start, start_of
from rootlm.tokenizers.tokenizer import Tokenizer
from rootlm.training.trainer import Trainer

_OTHERS: dict[type, str] = {
    Encoder: "set model.kind=encoder",
    SourceModel: "set model.kind=encoder_decoder",
    LanguageModel: "set objective.kind=masked or another model.kind",
}
_WINDOW = 256
_LONGEST_UNASKED = 8192


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
    objective = _pooled(recipe.objective.fitted(_vocabulary(material.tokenizer, recipe)), origin)
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


def _pooled(objective: ObjectiveConfig, origin: Path | None) -> ObjectiveConfig:
    """Let vectors of texts be made as before, where nothing else is asked for."""
    if not isinstance(objective, ContrastiveConfig) or objective.pooling is not None:
        return objective
    way = (sentence_way(origin) if origin is not None else None) or SentenceWay()
    return objective.model_copy(update={"pooling": way.pooling})


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
    """Return the network of a run; raises ValueError when the recipe asks for another one.

    What stands at its default in the recipe is not asked for.
    """
    network, asked = read_saved(origin).model, recipe.model
    plain, found = to_plain(type(asked)().resolved()), to_plain(network)
    said = to_plain(asked.resolved())
    if asked.kind != network.kind and asked.kind != Recipe.model_fields["model"].default.kind:
        raise _another(origin, "kind", network.kind, asked.kind)
    if said == plain:
        return network
    for key, value in found.items():
        if said.get(key) not in (value, plain.get(key)) and key not in network.free:
            raise _another(origin, key, value, said.get(key))
    same = asked.kind == network.kind
    free = [key for key in network.free if same or (hasattr(asked, key) and said[key] != plain[key])]
    return network.model_copy(update={key: getattr(asked, key) for key in free})


def _another(origin: Path, key: str, value: object, asked: object) -> ValueError:
    return ValueError(
        f"init_from {origin}: its model has {key}={value}, the recipe says {asked}; "
        "leave out model.*, or train from fresh weights"
    )


@contextmanager
def running(recipe: Recipe) -> Iterator[tuple[Device, Workers]]:
    """Yield where and among whom a recipe runs, with torch set to give the same bits each time."""
    training = recipe.training
    place = device.choose(training.device, training.precision)
    if training.compile is True and not device.can_compile(place):
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
