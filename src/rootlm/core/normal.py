"""Is this normal? A run's curve beside a reference with its spread over seeds, and what a gap may mean."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rootlm.core import config, files
from rootlm.core.config import Config
from rootlm.core.records import Record, of_kind

Measure = Literal["bits_per_byte", "loss"]
_SPREADS = 3.0
_LEAST_TOLERANCE = 0.03
_RECENT = 10
_LEAK = (
    "the training loss is as expected and only validation is low: held-out text may also stand in the "
    "training text (remove duplicates before splitting), or it is easier than the reference's"
)
_EASY = "the text may be easier or more repetitive than the reference's"


class Point(Config):
    """Where the reference runs stood after a number of tokens."""

    tokens: int
    validation: float
    """Mean over the seeds, in the reference's measure."""
    validation_spread: float = 0.0
    """Standard deviation over the seeds."""
    train: float | None = None
    """Mean over the seeds and over the steps since the point before."""
    train_spread: float = 0.0


class Reference(Config):
    """How runs of one recipe went."""

    recipe: str
    runs: int
    measure: Measure
    points: list[Point]
    learning_rate: float | None = None
    """The largest of the schedule."""
    tokens_per_step: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether a run goes as the reference runs did; `ratio` is its measure over theirs."""

    state: Literal["on track", "too high", "too low", "too early"]
    ratio: float | None
    sentence: str


def read_reference(path: Path) -> Reference:
    """Read a reference curve; raises ValueError naming the file when it is not one."""
    try:
        return config.validate(Reference, files.read_json(path))
    except ValueError as error:
        raise ValueError(f"{path}: not a reference curve: {error}") from error


def write_reference(path: Path, reference: Reference) -> None:
    """Write a reference curve as JSON."""
    files.write_json(path, config.to_plain(reference))


def summarise(recipe: str, runs: Sequence[list[Record]]) -> Reference:
    """Make a reference curve from the records of runs that differ in nothing but the seed."""
    if not runs:
        raise ValueError("a reference curve needs at least one run")
    measure: Measure = (
        "bits_per_byte" if all(_curve(run, "validation", "bits_per_byte") for run in runs) else "loss"
    )
    validation = [_curve(run, "validation", measure) for run in runs]
    train = [_curve(run, "train", measure) for run in runs]
    if not all(validation):
        raise ValueError(
            "a reference curve needs validation records; set a validation interval and run again"
        )
    points: list[Point] = []
    before = -1
    for tokens, _ in validation[0]:
        if tokens > min(curve[-1][0] for curve in validation):
            break
        held = [_at(curve, tokens) for curve in validation]
        learned = [mean for curve in train if (mean := _mean_between(curve, before, tokens)) is not None]
        points.append(
            Point(
                tokens=int(tokens),
                validation=statistics.fmean(held),
                validation_spread=_spread(held),
                train=statistics.fmean(learned) if learned else None,
                train_spread=_spread(learned),
            )
        )
        before = int(tokens)
    return Reference(
        recipe=recipe,
        runs=len(runs),
        measure=measure,
        points=points,
        learning_rate=_peak_learning_rate(runs[0]),
        tokens_per_step=_tokens_per_step(runs[0]),
    )


def judge(records: list[Record], reference: Reference) -> Verdict:
    """Compare the last validation of a run with the reference runs at the same number of tokens.

    Within three spreads, or 3 %, is on track. Beyond the reference's end a run may be better, but not worse.
    """
    curve = _curve(records, "validation", reference.measure)
    first, last = reference.points[0].tokens, reference.points[-1].tokens
    broken = _not_finite(records)
    if broken and (not curve or broken >= curve[-1][0]):
        return Verdict(
            "too high",
            None,
            f"The loss stopped being a number near {broken:,} tokens: the learning rate is too high for this "
            "warm-up, or the batch saved beside the checkpoint holds something odd.",
        )
    if not curve or curve[-1][0] < first:
        return Verdict("too early", None, f"Too early to say: the reference begins at {first:,} tokens.")
    tokens, value = curve[-1]
    expected = _at([(point.tokens, point.validation) for point in reference.points], tokens)
    spread = _at([(point.tokens, point.validation_spread) for point in reference.points], tokens)
    tolerance = max(_SPREADS * spread, _LEAST_TOLERANCE * expected)
    ratio = value / expected
    unit = "bits per byte" if reference.measure == "bits_per_byte" else "nats per token"
    theirs = (
        f"the reference run of {reference.recipe} had {expected:.3f}"
        if reference.runs == 1
        else f"{reference.runs} reference runs of {reference.recipe} had {expected:.3f} ± {spread:.3f}"
    )
    stand = f"{value:.3f} {unit} after {int(tokens):,} tokens, where {theirs}"
    if value > expected + tolerance:
        return Verdict("too high", ratio, f"Too high: {stand}. {_why_high(records, reference, tokens)}")
    if value < expected - tolerance and tokens <= last:
        return Verdict("too low", ratio, f"Too low: {stand}. {_why_low(records, reference, tokens)}")
    return Verdict("on track", ratio, f"On track: {stand}.")


def _why_high(records: list[Record], reference: Reference, tokens: float) -> str:
    causes: list[str] = []
    growth = _gradient_growth(records)
    if growth > 4:
        causes.append(
            f"the gradient norm has grown {growth:.0f} times since the start; lower the learning rate or "
            "lengthen the warm-up"
        )
    rate = _peak_learning_rate(records)
    if rate and reference.learning_rate and not 0.67 < rate / reference.learning_rate < 1.5:
        causes.append(
            f"the learning rate peaks at {rate:.3g}, the reference's at {reference.learning_rate:.3g}"
        )
    batch = _tokens_per_step(records)
    if batch and reference.tokens_per_step and not 0.67 < batch / reference.tokens_per_step < 1.5:
        causes.append(f"a step holds {batch:,.0f} tokens, the reference's {reference.tokens_per_step:,.0f}")
    train_ratio = _train_ratio(records, reference, tokens)
    if train_ratio is not None and train_ratio < 1 + _LEAST_TOLERANCE:
        causes.append(
            "the training loss is as expected and only validation is high: the held-out text is of another "
            "kind, or the model learns the training text by heart (more text, fewer epochs, dropout)"
        )
    elif not causes:
        causes.append(
            "the text or the tokenizer may be another than the reference's, or the warm-up too short"
        )
    return _list(causes)


def _why_low(records: list[Record], reference: Reference, tokens: float) -> str:
    train_ratio = _train_ratio(records, reference, tokens)
    if train_ratio is not None and train_ratio > 1 - _LEAST_TOLERANCE:
        return _list([_LEAK])
    return _list([_EASY, "if it is the same text, look for a target that the model can see"])


def _list(causes: list[str]) -> str:
    return "Likely: " + "; ".join(causes) + "."


def _curve(records: list[Record], kind: str, measure: str) -> list[tuple[float, float]]:
    """Return (tokens, value) of every record that has a finite value."""
    found: list[tuple[float, float]] = []
    for record in of_kind(records, kind):
        value, tokens = record.get(measure), record.get("tokens")
        if value is not None and tokens is not None and math.isfinite(value):
            found.append((float(tokens), float(value)))
    return found


def _at(curve: Sequence[tuple[float, float]], tokens: float) -> float:
    """Return the curve's value between its neighbours, flat beyond its ends."""
    place = bisect_left([x for x, _ in curve], tokens)
    if place == 0 or place == len(curve):
        return curve[min(place, len(curve) - 1)][1]
    (x0, y0), (x1, y1) = curve[place - 1], curve[place]
    return y0 + (y1 - y0) * (tokens - x0) / (x1 - x0)


def _mean_between(curve: Sequence[tuple[float, float]], after: float, until: float) -> float | None:
    values = [y for x, y in curve if after < x <= until]
    return statistics.fmean(values) if values else None


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _train_ratio(records: list[Record], reference: Reference, tokens: float) -> float | None:
    """Return recent training loss over the reference's at the same tokens, None where either is missing."""
    recent = _curve(records, "train", reference.measure)[-_RECENT:]
    expected = [(point.tokens, point.train) for point in reference.points if point.train is not None]
    if not recent or not expected:
        return None
    return statistics.fmean(y for _, y in recent) / _at(expected, tokens)


def _not_finite(records: list[Record]) -> int:
    """Return the tokens of the first training record whose loss is no number, 0 when there is none."""
    for record in of_kind(records, "train"):
        loss = record.get("loss", 0.0)
        if loss is None or not math.isfinite(loss):
            return int(record.get("tokens", 1))
    return 0


def _gradient_growth(records: list[Record]) -> float:
    norms = [r["gradient_norm"] for r in of_kind(records, "train") if r.get("gradient_norm")]
    if len(norms) < 4 * _RECENT:
        return 1.0
    # The first steps after initialisation have large gradients of their own.
    early = statistics.median(norms[_RECENT : 2 * _RECENT])
    return float(statistics.median(norms[-_RECENT:]) / early)


def _peak_learning_rate(records: list[Record]) -> float | None:
    return max(
        (r["learning_rate"] for r in of_kind(records, "train") if r.get("learning_rate")), default=None
    )


def _tokens_per_step(records: list[Record]) -> float | None:
    last = next((r for r in reversed(of_kind(records, "train")) if r.get("step") and r.get("tokens")), None)
    return last["tokens"] / last["step"] if last else None
