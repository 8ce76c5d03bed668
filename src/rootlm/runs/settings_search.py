"""Hyper-parameter search on the validation split: trials drawn at random or from a grid, then successive halving.

Halving (Jamieson and Talwalkar 2016, "Non-stochastic Best Arm Identification and Hyperparameter Optimization"): all
trials train for a small part of their steps, the best third goes on to three times as many, and so on. A trial's
schedule is laid out once, for its whole length: at a rung it is paused, and a promoted one goes on from its
checkpoint, to the bit as if it had never stopped. So a rung compares trials in the middle of their schedules, where
high rates look worse than they will; the last rung has come to the end of them, and only there a winner is named.

It is written here rather than asked of a library: a trial is a run folder that resumes by itself, so drawing
settings and keeping the best third is all there is left to do. Optuna 4 brings a database layer for that and prunes
trials without resuming them.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, model_validator

from rootlm.core import config, files, records
from rootlm.core.config import Config, Override
from rootlm.runs.apart import train_apart
from rootlm.runs.course import METRICS
from rootlm.runs.fitting import RECIPE
from rootlm.runs.recipe import Recipe, read_recipe

REQUEST = "search.request.json"
BEST = "best.yaml"


class Fit(Protocol):
    """Trains a recipe, or goes on with it, for a part of its steps."""

    def __call__(self, recipe: Recipe, part: float, /) -> Any:
        """Raise ValueError when it cannot be trained."""


class Span(Config):
    """Numbers from `low` to `high`; whole ones where both are."""

    low: int | float
    """The lowest."""
    high: int | float
    """The highest."""
    log: bool = False
    """Draw by equal factors instead of equal distances."""
    points: int = Field(3, ge=2)
    """How many of them a grid takes."""

    @model_validator(mode="after")
    def _rises(self) -> Span:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs numbers above 0, and low is {self.low}")
        return self

    def at(self, share: float) -> float | int:
        """Return the number at a share of the way.

        >>> Span(low=1e-4, high=1e-2, log=True).at(0.5), Span(low=2, high=6).at(0.7)
        (0.001, 5)
        """
        if self.log:
            value = math.exp(math.log(self.low) + share * math.log(self.high / self.low))
        else:
            value = self.low + share * (self.high - self.low)
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        return round(value) if whole else float(f"{value:.4g}")


Ranges = Mapping[str, Span | list[Any]]
"""For each key of the recipe: numbers between two, or a list to choose from."""


class Searching(Config):
    """How a search goes about it."""

    method: Literal["random", "grid"] = "random"
    """Draw each trial, or take every combination."""
    trials: int = Field(9, ge=1)
    """How many are drawn; a grid has as many as there are combinations."""
    halving: int | None = Field(3, ge=2)
    """Keep the best of so many at each rung, which is so many times longer; null trains every trial to its end."""
    least: float = Field(0.1, gt=0, le=1)
    """The first rung takes at least this share of a trial's steps."""
    seed: int = 0
    """Another seed, other trials."""


@dataclass(frozen=True)
class Base:
    """The recipe that all trials begin with."""

    name: str
    """A YAML file, or a shipped recipe's name."""
    overrides: Sequence[Override] = ()

    def with_settings(self, settings: Mapping[str, Any], folder: Path) -> Recipe:
        """Return the recipe of a trial."""
        chosen = [Override(key, value) for key, value in settings.items()]
        return read_recipe(self.name, [*self.overrides, *chosen, Override("out", str(folder))])


@dataclass
class Trial:
    """One choice of settings and how it has done."""

    number: int
    settings: Mapping[str, Any]
    folder: Path
    """Its run folder."""
    recipe: Recipe | None = None
    """None where these settings make none, such as a width that its heads do not divide."""
    part: float = 0.0
    """The share of its steps that it was given."""
    score: float | None = None
    """The lowest validation so far: bits per byte, or the loss of an objective that has none."""
    problem: str | None = None
    scores: list[float] = field(default_factory=list)
    """At each rung."""


def read_ranges(file: Path) -> Ranges:
    """Read `key: {low: …, high: …, log: true}` and `key: [one, another]`; raises ValueError naming file and line."""
    data, lines = config.read_yaml(file)
    ranges: dict[str, Span | list[Any]] = {}
    for key, value in data.items():
        place = f"{file}:{lines.get(key, 1)}: {key}"
        if isinstance(value, list) and value:
            ranges[key] = value
        elif isinstance(value, dict):
            try:
                ranges[key] = config.validate(Span, value)
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
        else:
            raise ValueError(f"{place}: is no range; write [one, another] or {{low: …, high: …}}")
    if not ranges:
        raise ValueError(
            f"{file}: names no setting; write such as training.optimizer.learning_rate: [0.001, 0.01]"
        )
    return ranges


def draw(ranges: Ranges, how: Searching) -> list[dict[str, Any]]:
    """Return the settings of every trial; the first n of more trials are those of n."""
    if how.method == "grid":
        axes = [_points(one) for one in ranges.values()]
        return [dict(zip(ranges, values, strict=True)) for values in itertools.product(*axes)]
    found = []
    for number in range(how.trials):
        generator = random.Random(f"{how.seed} {number}")
        found.append(
            {
                key: one.at(generator.random()) if isinstance(one, Span) else generator.choice(one)
                for key, one in ranges.items()
            }
        )
    return found


def rungs(trials: int, how: Searching) -> list[float]:
    """Return the share of its steps that a trial has taken at each rung, the last of them all.

    >>> [round(rung, 3) for rung in rungs(9, Searching())], rungs(2, Searching())
    ([0.111, 0.333, 1.0], [1.0])
    """
    if how.halving is None:
        return [1.0]
    count = 1
    while how.halving**count <= trials and how.halving**-count >= how.least:
        count += 1
    return [float(how.halving**-place) for place in reversed(range(count))]


def search(
    base: Base,
    ranges: Ranges,
    out: Path,
    how: Searching,
    say: Callable[[str], None],
    *,
    fit: Fit = train_apart,
) -> list[Trial]:
    """Train the trials and return them, the best first; `best.yaml` in `out` is the best one's recipe.

    The same call goes on where it was stopped. Raises ValueError for a setting that the recipe does not know, for a
    folder that holds another search, and when no trial could be trained.
    """
    trials = _trials(base, ranges, out, how)
    _claim(out, [None if one.recipe is None else config.to_plain(one.recipe) for one in trials])
    for trial in trials:
        if trial.recipe is None:
            say(f"trial {trial.number} is left out: {trial.problem}")
    running = [trial for trial in trials if trial.recipe is not None]
    for part in rungs(len(trials), how):
        say(f"{len(running)} trials, to {part:.0%} of their steps")
        for trial in running:
            _train(trial, part, say, fit)
        running = sorted((one for one in running if one.score is not None), key=_rank)
        if not running:
            problems = (trial.problem for trial in trials if trial.problem)
            raise ValueError(f"{out}: no trial could be trained; the first: {next(problems)}")
        if part < 1 and how.halving is not None:
            running = running[: math.ceil(len(running) / how.halving)]
    ordered = sorted(trials, key=_rank)
    assert ordered[0].recipe is not None
    best = ordered[0].recipe.model_copy(update={"out": ""})
    files.write_text(out / BEST, config.to_yaml(best))
    return ordered


def _trials(base: Base, ranges: Ranges, out: Path, how: Searching) -> list[Trial]:
    """Return all trials; raises ValueError when there is none whose settings make a recipe."""
    trials = []
    for number, settings in enumerate(draw(ranges, how), 1):
        trial = Trial(number, settings, out / f"trial-{number}")
        try:
            trial.recipe = base.with_settings(settings, trial.folder)
        except ValueError as error:
            trial.problem = str(error).removeprefix("command line: ")
        else:
            if trial.recipe.validation.split is None:
                raise ValueError(
                    "validation.split is null, and a search needs a split to choose by; name one"
                )
        trials.append(trial)
    if not any(trial.recipe for trial in trials):
        raise ValueError(f"no trial has settings that make a recipe; the first: {trials[0].problem}")
    return trials


def _rank(trial: Trial) -> tuple[float, float, int]:
    return (-trial.part, math.inf if trial.score is None else trial.score, trial.number)


def _train(trial: Trial, part: float, say: Callable[[str], None], fit: Fit) -> None:
    assert trial.recipe is not None
    chosen = ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in trial.settings.items())
    say(f"trial {trial.number}: {chosen}")
    try:
        if not _has_taken(trial.folder, part):
            fit(trial.recipe, part)
    except ValueError as error:
        trial.problem, trial.score = str(error), None
        say(f"trial {trial.number}: {error}")
        return
    trial.score, trial.part = _score(trial.folder, part), part
    trial.scores.append(trial.score)
    say(f"trial {trial.number}: {trial.score:.4f}")


def _has_taken(folder: Path, part: float) -> bool:
    """Tell whether a trial has paused after so much of its steps, or has ended."""
    if not (folder / METRICS).exists() or not (folder / RECIPE).exists():
        return False
    ends = records.of_kind(records.read(folder / METRICS), "end")
    return bool(ends) and (ends[-1]["finished"] or (part < 1 and ends[-1]["step"] >= _steps(folder, part)))


def _steps(folder: Path, part: float) -> int:
    """Return the step at which a trial pauses."""
    return max(1, round((config.load(Recipe, folder / RECIPE).training.max_steps or 1) * part))


def _score(folder: Path, part: float) -> float:
    """Return the lowest validation until then."""
    looks = records.of_kind(records.read(folder / METRICS), "validation")
    last = _steps(folder, part)
    scores = [look.get("bits_per_byte") or look["loss"] for look in looks if look["step"] <= last]
    return float(min(scores))


def _points(one: Span | list[Any]) -> list[Any]:
    if isinstance(one, list):
        return one
    return list(dict.fromkeys(one.at(place / (one.points - 1)) for place in range(one.points)))


def _claim(out: Path, asked: list[dict[str, Any] | None]) -> None:
    file = out / REQUEST
    if file.exists() and files.read_json(file) != asked:
        raise ValueError(f"{out}: holds another search; choose another out= or ask as you did at first")
    files.write_json(file, asked)
