"""k-fold cross-validation: every training document is held out once, from a model that never read it or its copies.

Each fold is a run folder like any other, `fold-N`, and goes on where it was stopped. The validation split still picks
each run's best weights, so the held-out part is looked at once, at the end; the test split is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rootlm.core import files
from rootlm.core.plain_table import plain_table
from rootlm.core.report import Block, Notice, Prose, Report, Table, write_report
from rootlm.evaluation.intervals import Interval, mean
from rootlm.runs.apart import train_apart
from rootlm.runs.opened import load
from rootlm.runs.recipe import Recipe
from rootlm.text.corpus import Corpus
from rootlm.text.folds import HELD_OUT, Fold, FoldConfig

RESULT, PAGE, SCORED = "crossval.json", "crossval.html", "held_out.json"
_HEAD = ("fold", "documents held out", "bytes", "bits per byte", "95 % interval", "perplexity", "accuracy")


@dataclass(frozen=True)
class CrossValidated:
    """The figures of each fold, and their mean."""

    folds: list[dict[str, Any]]
    bits: Interval
    """Mean bits per byte of the folds, with its t-interval."""

    @property
    def sentence(self) -> str:
        """The mean in words."""
        assert self.bits.low is not None
        half = self.bits.value - self.bits.low
        return (
            f"{self.bits.value:.4f} ± {half:.4f} bits per byte: the mean of {len(self.folds)} folds with its 95 % "
            "t-interval"
        )


def cross_validate(
    recipe: Recipe,
    out: Path,
    folds: FoldConfig,
    say: Callable[[str], None],
    fit: Callable[[Recipe], Any] = train_apart,
) -> CrossValidated:
    """Train and score every fold of the recipe's corpus; `folds.number` is not used.

    Raises ValueError for several corpora, for fewer groups of documents than folds, and for an objective that does
    not say what a text costs.
    """
    if len(recipe.parts) != 1:
        raise ValueError("corpus: cross-validation holds out parts of one corpus; prepare several as one")
    if not recipe.objective.measures_text:
        raise ValueError(
            f"objective.kind {recipe.objective.kind} gives no probability to a text, so a fold has no bits per byte"
        )
    whole = Corpus.open(Path(recipe.parts[0].path))
    figures = []
    for number in range(1, folds.of + 1):
        settings = folds.model_copy(update={"number": number})
        fold, folder = Fold(whole, settings), out / f"fold-{number}"
        size = fold.counts(HELD_OUT)
        say(f"fold {number} of {folds.of}: {size.documents:,} documents held out")
        fit(recipe.model_copy(update={"fold": settings, "out": str(folder)}))
        figures.append(_scored(folder, fold))
        say(f"fold {number} of {folds.of}: {figures[-1]['bits_per_byte']['value']:.4f} bits per byte")
    found = CrossValidated(figures, mean([one["bits_per_byte"]["value"] for one in figures]))
    files.write_json(out / RESULT, {"bits_per_byte": asdict(found.bits), "folds": figures})
    _write_page(out, recipe, folds, found)
    return found


def table(found: CrossValidated) -> str:
    """Return a row for each fold, for the terminal."""
    return plain_table(_HEAD, _rows(found))


def _scored(folder: Path, fold: Fold) -> dict[str, Any]:
    """Return the figures of a finished fold on what it has not read; made once."""
    file = folder / SCORED
    if not file.exists():
        evaluation = load(folder, precision="float32").evaluate(fold.documents(HELD_OUT))
        files.write_json(file, {"fingerprint": fold.fingerprint, **evaluation.to_plain()})
    held: dict[str, Any] = files.read_json(file)
    return held


def _rows(found: CrossValidated) -> list[list[str]]:
    rows = []
    for number, one in enumerate(found.folds, 1):
        bits = one["bits_per_byte"]
        between = "one document" if bits["low"] is None else f"{bits['low']:.3f} – {bits['high']:.3f}"
        sizes = [f"{one['documents']:,}", f"{one['bytes']:,}"]
        others = [f"{one['perplexity']['value']:,.2f}", f"{one['accuracy']['value']:.1%}"]
        rows.append([str(number), *sizes, f"{bits['value']:.4f}", between, *others])
    return rows


def _write_page(out: Path, recipe: Recipe, folds: FoldConfig, found: CrossValidated) -> None:
    kept = "" if folds.together is None else f" Documents of one {folds.together} are in one fold."
    words = (
        "Every training document is held out once. Copies of a document, and documents that nearly say the same, are "
        f"in one fold.{kept} The interval of a fold is a bootstrap over its documents; that of the mean is "
        "Student's, over the folds. Folds share most of what they were trained on, so the true interval is "
        "somewhat wider (Bengio and Grandvalet 2004)."
    )
    blocks: list[Block] = [
        Notice(found.sentence, "good"),
        Table(_HEAD, _rows(found), "Folds"),
        Prose([words]),
    ]
    subtitle = f"{recipe.model.kind} on {Path(recipe.parts[0].path).name}"
    write_report(out / PAGE, Report("Cross-validation", blocks, subtitle))
