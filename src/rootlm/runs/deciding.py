"""What a few real steps take, and what follows from that: how many steps there are, whether compiling pays."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from rootlm.core import device, machine
from rootlm.core.device import Device
from rootlm.runs.prepared import Prepared
from rootlm.runs.recipe import with_changes
from rootlm.training.fitters import fitter
from rootlm.training.trainer import Trainer

_MEASURED_STEPS = 4
_MEASURED_OF_MANY_SHAPES = 16
_COMPILE_PAYS_SECONDS = 300


@dataclass(frozen=True)
class Measured:
    """What a few real steps took."""

    step_seconds: float
    trainer: Trainer
    """The trainer that took them; to be thrown away."""


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
    return prepared.reader.shapes_stay and device.can_compile(prepared.device)


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
