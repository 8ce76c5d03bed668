"""The learning-rate finder: one short run in which the rate rises by equal factors, and what its loss says of it.

After Smith 2017, "Cyclical Learning Rates for Training Neural Networks". The loss is smoothed over steps; where it
falls most steeply is a good rate to train with, and where it stops falling is the most that is stable.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import Field

from rootlm.core.charts import Chart, Series
from rootlm.core.config import Config
from rootlm.core.plain_table import plain_table
from rootlm.core.report import Block, Curves, Figure, Figures, Prose, Report, write_report
from rootlm.runs.prepared import prepare, running
from rootlm.runs.recipe import Recipe, with_changes
from rootlm.training.fitters import fitter
from rootlm.training.trainer import NotFinite

_MEMORY = 0.9
_DIVERGED = 4.0
_SLACK = 0.05


class Sweep(Config):
    """Which rates are tried."""

    low: float = Field(1e-6, gt=0)
    """The first rate."""
    high: float = Field(1.0, gt=0)
    """The last rate."""
    steps: int = Field(100, ge=10)
    """How many steps it takes from one to the other."""


@dataclass(frozen=True)
class Found:
    """Rates with the loss of the step each was used in, and what follows."""

    rates: list[float]
    losses: list[float]
    smooth: list[float]
    steepest: float
    """Where the smoothed loss falls most per factor: a rate to train with."""
    stable: float
    """The largest rate before the smoothed loss rises again."""
    diverged: bool


def find_rate(recipe: Recipe, sweep: Sweep) -> Found:
    """Train for a few steps at rising rates; of the run nothing is kept.

    All rates of the optimizer rise together, in their proportion; the one spoken of is `optimizer.learning_rate`.
    Raises ValueError for a model that learns without a rate, and for a sweep that does not rise.
    """
    if fitter(recipe.model) is not None:
        raise ValueError(
            f"model.kind {recipe.model.kind} learns in one pass over the text: it has no learning rate"
        )
    if not sweep.low < sweep.high:
        raise ValueError(f"low={sweep.low} is not below high={sweep.high}")
    rate = recipe.training.optimizer.learning_rate
    schedule = {"kind": "exponential", "initial": sweep.low / rate, "final": sweep.high / rate}
    length = {"max_steps": sweep.steps, "minutes": None, "epochs": None, "compile": False}
    recipe = with_changes(recipe, training={"schedule": schedule, **length})
    rates: list[float] = []
    losses: list[float] = []
    diverged = False
    with TemporaryDirectory(prefix="rootlm-rate-") as temporary, running(recipe) as (place, workers):
        trainer = prepare(recipe, Path(workers.agree(temporary)), place, workers).trainer(sweep.steps)
        for step in range(sweep.steps):
            try:
                loss = trainer.step()["loss"]
            except NotFinite:
                diverged = True
                break
            rates.append(trainer.learning_rate(step))
            losses.append(loss)
            if smoothed(losses)[-1] > _DIVERGED * min(smoothed(losses)):
                diverged = True
                break
    return judged(rates, losses, diverged)


def judged(rates: list[float], losses: list[float], diverged: bool) -> Found:
    """Return what the losses say; raises ValueError when there are too few of them."""
    if len(losses) < 5:
        raise ValueError(f"the loss was no number after {len(losses)} steps; set a lower low=")
    smooth = smoothed(losses)
    lowest = int(np.argmin(smooth))
    slopes = np.gradient(np.array(smooth), np.log(rates))
    steepest = int(np.argmin(slopes[: max(lowest, 1)]))
    most = smooth[lowest] + _SLACK * (smooth[0] - smooth[lowest])
    stable = max(
        place for place in range(len(smooth)) if place >= lowest and max(smooth[lowest : place + 1]) <= most
    )
    return Found(rates, losses, smooth, rates[steepest], rates[stable], diverged)


def smoothed(losses: list[float]) -> list[float]:
    """Return the losses' moving average, each step weighing a tenth, without a bias to the beginning.

    >>> [round(value, 6) for value in smoothed([2.0, 2.0, 2.0])], smoothed([1.0, 2.0])[1] > 1.5
    ([2.0, 2.0, 2.0], True)
    """
    mean, found = 0.0, []
    for count, loss in enumerate(losses, 1):
        mean = _MEMORY * mean + (1 - _MEMORY) * loss
        found.append(mean / (1 - _MEMORY**count))
    return found


def table(found: Found) -> str:
    """Return some of the rates with their loss, for the terminal."""
    gap = max(1, len(found.rates) // 20)
    rows = [
        [f"{found.rates[place]:.2e}", f"{found.losses[place]:.4f}", f"{found.smooth[place]:.4f}"]
        for place in range(0, len(found.rates), gap)
    ]
    return plain_table(["rate", "loss", "smoothed"], rows)


def sentence(found: Found) -> str:
    """Say which rate to take."""
    end = (
        "beyond it the loss rises"
        if found.diverged or found.stable < found.rates[-1]
        else "none higher was tried"
    )
    return (
        f"The loss falls most steeply at a rate of {found.steepest:.1e}: train with about that. The largest stable "
        f"rate is {found.stable:.1e}; {end}."
    )


def write_page(found: Found, recipe: Recipe, path: Path) -> None:
    """Write the curve as a page."""
    smooth = Series("smoothed", [(rate, loss) for rate, loss in zip(found.rates, found.smooth, strict=True)])
    each = Series(
        "each step", [(rate, loss) for rate, loss in zip(found.rates, found.losses, strict=True)], dashed=True
    )
    marks = [
        Series(name, [(rate, found.smooth[found.rates.index(rate)])], dots=True)
        for name, rate in (("steepest descent", found.steepest), ("largest stable rate", found.stable))
    ]
    chart = Chart(
        "Loss at rising rates", [smooth, each, *marks], x_label="learning rate", y_label="nats", x_log=True
    )
    figures = [
        Figure("steepest descent", f"{found.steepest:.1e}", "a rate to train with"),
        Figure("largest stable rate", f"{found.stable:.1e}", "the most it bears"),
        Figure("steps", str(len(found.rates)), f"{found.rates[0]:.0e} to {found.rates[-1]:.0e}"),
    ]
    blocks: list[Block] = [Figures(figures), Curves([chart]), Prose([sentence(found)])]
    title = f"{recipe.model.kind}, {recipe.training.optimizer.kind}"
    write_report(path, Report("Which learning rate", blocks, title))
