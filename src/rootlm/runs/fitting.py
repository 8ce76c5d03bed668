"""A whole run: from a recipe to a run folder, begun or gone on with."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from rootlm.core import config, energy, files, normal, records
from rootlm.core.run_report import REFERENCE, run_report
from rootlm.generation.sampling import to_generation_config
from rootlm.models.encoder_config import EncoderConfig
from rootlm.objectives.contrastive import ContrastiveConfig
from rootlm.runs import course
from rootlm.runs.course import METRICS, end_record, generalise, keep, report, speaking, start_record
from rootlm.runs.deciding import PeakMemory, decide, measure, needs_measure
from rootlm.runs.manners import handed_on
from rootlm.runs.material import Material, gather
from rootlm.runs.one_pass import read_once
from rootlm.runs.pair_files import keep_pair
from rootlm.runs.prepared import Prepared, prepare, running
from rootlm.runs.recipe import Recipe, SamplesConfig, read_reference
from rootlm.runs.sentence_folders import SentenceWay, copy_way, sentence_way, write_way
from rootlm.runs.vectors_start import start_of
from rootlm.tokenizers.tokenizer import SOURCE_TOKENIZER
from rootlm.training.checkpoints import Checkpoints
from rootlm.training.fitters import fitter
from rootlm.training.trainer import Standing, Trainer

RECIPE, REQUEST = "recipe.yaml", "request.json"
GENERATION_CONFIG = "generation_config.json"


def train(recipe: Recipe, say: Callable[[str], None] = print, part: float = 1.0) -> Path:
    """Run a recipe, or go on with the run in its folder; returns the folder.

    With `part` below 1 it pauses, validated and saved, after this share of its steps; going on from there gives the
    same bits as a run without a pause. What learns in one pass does not pause.

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
            material = gather(recipe, folder, workers, folder)
            _same_material(material, folder)
            start = start_of(recipe.embedding, material.tokenizer)
            prepared = Prepared(recipe, folder, material, place, workers, start)
        else:
            workers.first_does(lambda: _claim(folder, request))
            prepared = _begin(prepare(recipe, folder, place, workers), request)
        speak = say if workers.is_first else _say_nothing
        once = fitter(recipe.model)
        run = partial(_fit, part=part) if once is None else partial(read_once, fit=once)
        finished = run(prepared, say=speak, memory=memory)
    if not finished:
        raise KeyboardInterrupt
    return folder


def _claim(folder: Path, request: dict[str, Any]) -> None:
    """Note what was asked before anything is made; drop what an earlier, unfinished start made for another."""
    held = files.read_json(folder / REQUEST) if (folder / REQUEST).exists() else None
    if held is not None and held["recipe"] != request:
        for name in ("tokenizer", SOURCE_TOKENIZER):
            shutil.rmtree(folder / name, ignore_errors=True)
    files.write_json(folder / REQUEST, {"recipe": request})


def _begin(prepared: Prepared, request: dict[str, Any]) -> Prepared:
    folder, material = prepared.folder, prepared.material
    prepared = decide(prepared, measure(prepared) if needs_measure(prepared) else None)

    def write() -> None:
        material.tokenizer.save(folder)
        if material.source_tokenizer is not None:
            material.source_tokenizer.save(folder / SOURCE_TOKENIZER)
            keep_pair(material.source_tokenizer, folder)
        _keep_way(prepared.recipe, folder)
        read = {
            "corpora": [corpus.fingerprint for corpus in material.corpora],
            "tokenizer": material.tokenizer.fingerprint,
            "source_tokenizer": material.reader.fingerprint,
        }
        files.write_json(folder / REQUEST, {"recipe": request, **read})
        files.write_json(folder / GENERATION_CONFIG, _generation_config(prepared))
        if prepared.recipe.reference:
            normal.write_reference(folder / REFERENCE, read_reference(prepared.recipe.reference))
        files.write_text(folder / RECIPE, config.to_yaml(prepared.recipe))

    prepared.workers.first_does(write)
    return prepared


def _keep_way(recipe: Recipe, folder: Path) -> None:
    """Write how a text becomes a vector: as it was learned, else as the folder says that the weights are from."""
    network, origin = recipe.model, recipe.init_from
    if not isinstance(network, EncoderConfig):
        return
    if isinstance(recipe.objective, ContrastiveConfig):
        pooling, hidden_size = recipe.objective.pooling, network.resolved().hidden_size
        assert pooling and hidden_size
        said = sentence_way(Path(origin)) if origin else None
        longest = None if said is None else said.longest
        write_way(folder, SentenceWay(pooling, longest=longest), hidden_size, network.context)
    elif origin:
        copy_way(Path(origin), folder)


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
    for key, tokenizer, place in (
        ("tokenizer", material.tokenizer, folder),
        ("source_tokenizer", material.reader, folder / SOURCE_TOKENIZER),
    ):
        # Runs of before there were two have noted one.
        if tokenizer.fingerprint != first.get(key, first["tokenizer"]):
            raise ValueError(
                f"{place / 'tokenizer.json'}: is not the tokenizer that this run was begun with; "
                "bring it back or choose another out="
            )
    for corpus, fingerprint in zip(material.corpora, first["corpora"], strict=True):
        if corpus.fingerprint != fingerprint:
            raise ValueError(
                f"{corpus.folder}: holds other documents than when {folder} was begun; "
                "choose another out= (init_from= goes on from its weights) or bring the corpus back"
            )


def _fit(prepared: Prepared, say: Callable[[str], None], memory: PeakMemory, part: float) -> bool:
    """Train to the end, until asked to stop or for a part; returns True when all that was wanted is done."""
    recipe, folder, workers = prepared.recipe, prepared.folder, prepared.workers
    steps = recipe.training.max_steps
    assert steps is not None
    checkpoints = Checkpoints(folder / "checkpoints", recipe.training.keep)
    remark = prepared.reader.remark(prepared.material, recipe, prepared.window)
    if remark is not None:
        say(remark)
    trainer = prepared.trainer(steps)
    found = workers.agree(checkpoints.steps())
    if prepared.start is not None and not found:
        say(prepared.start.sentence)
    if found:
        trainer.restore(checkpoints.load(found[-1]))
    standing = trainer.standing
    if trainer.finished and workers.agree(_is_ended(folder)):
        workers.first_does(lambda: run_report(folder))
        say(f"{folder}: finished, {standing.step} of {steps} steps; choose another out= to train anew")
        return True
    until = min(steps, max(1, round(steps * part)))
    if until <= standing.step < steps:
        say(f"{folder}: has taken {standing.step} of {steps} steps, {until} were asked for")
        return True
    if found:
        say(f"{folder}: goes on from step {standing.step} of {steps}")
    workers.first_does(checkpoints.tidy)
    with speaking(prepared, steps, standing.step) as (log, progress):
        watch = course.watch(prepared, trainer.model, trainer.objective, (log, progress))
        memory.forget(prepared.device)
        meter = energy.Meter(gpu=prepared.device.card)
        if log is not None and not _is_started(folder):
            log.write(start_record(prepared, trainer.model, steps))
        with _signals(trainer):
            finished = trainer.run(watch, checkpoints, until)
        if standing.best_step is None:
            keep(trainer.model, folder, workers)
        if log is not None:
            end = end_record(standing, finished, meter.read(), memory.read(prepared.device))
            if finished:
                generalise(prepared, standing.step, log)
            log.write(end)
    workers.first_does(lambda: report(prepared))
    if not finished:
        how = "paused" if standing.step == until else "stopped"
        say(f"{how} and saved at step {standing.step} of {steps}; the same command goes on from there")
        return standing.step == until
    _conclude(prepared, standing, say)
    return True


def _conclude(prepared: Prepared, standing: Standing, say: Callable[[str], None]) -> None:
    """Say how a run has ended."""
    folder, steps = prepared.folder, prepared.recipe.training.max_steps
    if standing.step != steps:
        say(f"no better for {standing.waited} validations, so it ended at step {standing.step} of {steps}")
    if (folder / REFERENCE).exists() and prepared.workers.is_first:
        reference = normal.read_reference(folder / REFERENCE)
        say(normal.judge(records.read(folder / METRICS), reference).sentence)
    say(f"the model is in {folder}; the report is {folder / 'report.html'}")


def _generation_config(prepared: Prepared) -> dict[str, Any]:
    tokenizer = prepared.material.tokenizer
    ids = {
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.pad_id,
    }
    kept = {name: number for name, number in ids.items() if number is not None}
    sampling, origin = prepared.recipe.samples.sampling, prepared.recipe.init_from
    own = {**to_generation_config(sampling), **kept}
    return handed_on(Path(origin), own, asked=sampling != SamplesConfig().sampling) if origin else own


def _is_started(folder: Path) -> bool:
    return bool(records.of_kind(records.read(folder / METRICS), "start"))


def _is_ended(folder: Path) -> bool:
    ends = records.of_kind(records.read(folder / METRICS), "end") if (folder / METRICS).exists() else []
    return bool(ends) and bool(ends[-1]["finished"])


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
