"""Before a run: what it will take, from its own first steps."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from rootlm.core import config, files
from rootlm.core.progress import duration, short_number
from rootlm.runs.deciding import Measured, PeakMemory, decide, measure
from rootlm.runs.material import Material
from rootlm.runs.prepared import Prepared, prepare, running
from rootlm.runs.recipe import Recipe
from rootlm.training.checkpoints import Checkpoints
from rootlm.training.fitters import fitter


def preflight(recipe: Recipe) -> str:
    """Return the resolved recipe and what running it takes; of the run nothing is kept.

    Memory is the highest of a few real steps and a checkpoint, above what the imports took; time is the
    fastest of those steps.
    """
    memory = PeakMemory()
    with TemporaryDirectory(prefix="rootlm-preflight-") as temporary, running(recipe) as (place, workers):
        folder = Path(workers.agree(temporary))
        prepared = prepare(recipe, folder, place, workers)
        if fitter(recipe.model) is not None:
            return _counted(decide(prepared, None))
        memory.forget(place)
        measured = measure(prepared)
        checkpoints = Checkpoints(folder / "checkpoints", keep=1)
        measured.trainer.save(checkpoints)
        peak_bytes, saved_bytes = memory.read(place), _size(folder / "checkpoints")
        prepared = decide(prepared, measured)
        rows = _rows(prepared, measured, peak_bytes, saved_bytes)
    width = max(map(len, rows))
    lines = [f"{name:<{width}}  {value}" for name, value in rows.items()]
    return "\n".join([config.to_yaml(prepared.recipe), *lines])


def _counted(prepared: Prepared) -> str:
    """Return what is known of a model that reads its text once: nothing is counted before the run."""
    tokenizer, splits = prepared.material.tokenizer, prepared.material.corpora
    size = sum(corpus.counts("train").bytes for corpus in splits)
    return "\n".join(
        [
            config.to_yaml(prepared.recipe),
            f"vocabulary  {tokenizer.vocab_size:,}",
            f"text        {size / 1e6:,.1f} MB, read once",
        ]
    )


def _vocabularies(material: Material) -> str:
    size = f"{material.tokenizer.vocab_size:,}"
    return (
        f"{material.reader.vocab_size:,} of sources, {size} of targets" if material.source_tokenizer else size
    )


def _rows(prepared: Prepared, measured: Measured, peak_bytes: int, saved_bytes: int) -> dict[str, str]:
    training, trainer = prepared.recipe.training, measured.trainer
    steps = training.max_steps
    assert steps is not None
    tokens = trainer.loader.places_per_step
    # The checkpoints kept, the best one, the one being written, and the model itself.
    kept = saved_bytes * (training.keep + 2)
    out = Path(prepared.recipe.out)
    return {
        "parameters": short_number(trainer.model.n_parameters()),
        "vocabulary": _vocabularies(prepared.material),
        "device": f"{prepared.device.torch.type}, {prepared.device.precision}: {prepared.device.why}",
        "peak memory": f"{peak_bytes / 1e6:,.0f} MB above the imports",
        "steps": f"{steps:,}, {short_number(tokens)} tokens each",
        "tokens": f"{short_number(steps * tokens)}, {steps / trainer.loader.steps_per_epoch:.2f} epochs",
        "time": f"{duration(steps * measured.step_seconds)} "
        f"at {short_number(tokens / measured.step_seconds)} tokens/s",
        "disk": f"up to {kept / 1e6:,.0f} MB for checkpoints, {files.free_bytes(out) / 1e9:,.1f} GB free",
    }


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
