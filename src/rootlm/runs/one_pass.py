"""A run of a model that is counted: the text is read once, and the folder holds what any run's folder holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from rootlm.core import energy, records
from rootlm.data.store import Store
from rootlm.runs import course
from rootlm.runs.deciding import PeakMemory
from rootlm.runs.material import Material
from rootlm.runs.prepared import Prepared
from rootlm.training.fitters import Fitter
from rootlm.training.trainer import Standing

_TOKENS_AT_ONCE = 1 << 22


def read_once(prepared: Prepared, fit: Fitter, say: Callable[[str], None], memory: PeakMemory) -> bool:
    """Fit the model, score it, let it speak and save it; returns True. What was finished before is left alone."""
    folder, workers, recipe = prepared.folder, prepared.workers, prepared.recipe
    metrics = folder / course.METRICS
    if metrics.exists() and records.of_kind(records.read(metrics), "end"):
        say(f"{folder}: finished; choose another out= to train anew")
        return True
    # Nothing was finished: whatever an interrupted start has recorded is dropped.
    metrics.unlink(missing_ok=True)
    with course.speaking(prepared, 1, 0) as (log, progress):
        memory.forget(prepared.device)
        meter, started = energy.Meter(gpu=prepared.device.card), time.perf_counter()
        model = prepared.model()
        marks = prepared.material.marks
        fit(model, pieces(prepared.material), (marks.bos_id, marks.eos_id), say)
        seconds = time.perf_counter() - started
        standing = Standing(step=1, tokens=_tokens(prepared.material), seconds=seconds, best_step=1)
        if log is not None:
            log.write(course.start_record(prepared, model, 1))
        watch = course.watch(prepared, model, recipe.objective.build(), (log, progress))
        standing.best_loss = watch.validate(standing)
        if recipe.samples.prompts:
            watch.sample(standing)
        course.keep(model, folder, workers)
        if log is not None:
            end = course.end_record(standing, True, meter.read(), memory.read(prepared.device))
            course.generalise(prepared, 1, log)
            log.write(end)
    workers.first_does(lambda: course.report(prepared))
    say(f"the model is in {folder}; the report is {folder / 'report.html'}")
    return True


def pieces(material: Material) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the training documents end to end, each with its end mark, some millions of tokens at a time.

    Raises ValueError for corpora of different weights: each is read once.
    """
    if len(set(material.weights)) > 1:
        raise ValueError(
            "corpus: a counted model reads every corpus once, whatever its weight; give all the same weight"
        )
    for corpus in material.corpora:
        store = material.store(corpus, "train")
        first = 0
        while first < store.documents:
            most = store.offsets[first] + _TOKENS_AT_ONCE
            end = max(first + 1, int(np.searchsorted(store.offsets, most, side="right")) - 1)
            yield _ended(store, first, end, material.marks.eos_id)
            first = end


def _ended(store: Store, first: int, end: int, mark: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return documents with the end mark after each, and where each begins."""
    begins = store.offsets[first : end + 1] - store.offsets[first]
    offsets = begins + np.arange(len(begins))
    ids = np.full(int(offsets[-1]), mark, np.int64)
    inner = np.ones(len(ids), bool)
    inner[offsets[1:] - 1] = False
    ids[inner] = store.ids[store.offsets[first] : store.offsets[end]]
    return ids, offsets


def _tokens(material: Material) -> int:
    stores = [material.store(corpus, "train") for corpus in material.corpora]
    return sum(store.tokens + store.documents for store in stores)
