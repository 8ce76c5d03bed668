"""Adapters as folders: merged into a model, and handed to PEFT and taken from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from rootlm.core.files import new_folder
from rootlm.models.adaptation import Adaptation, base_of
from rootlm.models.adapted import merged
from rootlm.models.catalog import load_model, save_model
from rootlm.models.foreign.peft_names import Pair, read_peft, write_peft
from rootlm.models.interface import Network
from rootlm.runs.opened import Run

_BESIDE = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


def merge(run: Run) -> Network:
    """Return a run's model with its adapters put into the weights, in the types that its base has on disk.

    Raises ValueError for a run without adapters.
    """
    if run.model.adaptation is None:
        raise ValueError(
            f"{run.folder}: holds no adapter, so there is nothing to merge; use the run as it is"
        )
    return merged(load_model(run.folder, device=run.model.device))


def export_peft(run: Run, pairs: Iterable[Pair], folder: Path) -> None:
    """Write a run's adapters as PEFT does; `pairs` map our names of the base to those it has in `transformers`.

    Raises ValueError for a run without adapters, and for weights that PEFT has no place for.
    """
    adaptation = run.model.adaptation
    if adaptation is None:
        raise ValueError(
            f"{run.folder}: holds no adapter; rootlm train … init_from=BASE adapter.kind=lora makes one"
        )
    model = load_model(run.folder)
    with new_folder(folder) as partial:
        write_peft(model, pairs, partial, base=adaptation.base.path)


def import_peft(source: Path, base: Path, pairs: Iterable[Pair], out: Path) -> None:
    """Turn a folder that PEFT wrote, and the base it was made for, into one that `rootlm.load` opens.

    Raises ValueError naming what does not fit.
    """
    model = load_model(base)
    if model.adaptation is not None:
        merged(model)
    settings = read_peft(model, pairs, source)
    model.adaptation = Adaptation(settings=settings, base=base_of(base))
    with new_folder(out) as partial:
        save_model(model, partial)
        for name in _BESIDE:
            if (base / name).is_file():
                shutil.copy(base / name, partial / name)
