"""What happens around the trainer while it trains: records, progress line, validation, samples, best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from rootlm.core.device import Device
from rootlm.core.progress import Progress
from rootlm.core.records import Records
from rootlm.core.workers import Workers
from rootlm.data.windows import dealt
from rootlm.generation.texts import Generation, Writer
from rootlm.models.interface import LanguageModel, Network
from rootlm.objectives.objective import Carry, Objective
from rootlm.runs.material import Material
from rootlm.runs.reader import HeldOut
from rootlm.runs.recipe import Recipe
from rootlm.training.trainer import Standing


@dataclass
class Watch:
    """Writes what a person and a report want to know; only the first worker speaks."""

    recipe: Recipe
    model: Network
    objective: Objective
    material: Material
    workers: Workers
    device: Device
    records: Records | None
    progress: Progress | None
    keep_best: Callable[[], None]
    peak_flops: float
    bytes_per_token: float | None
    """None where the objective says nothing of bytes."""
    held_out: HeldOut | None
    trackers: list[Callable[[Mapping[str, Any]], None]] = field(default_factory=list)
    _since: list[dict[str, float]] = field(default_factory=list)

    def train(self, standing: Standing, facts: Mapping[str, float]) -> None:
        """Note a step; write a record every `logging_steps`."""
        self._since.append(dict(facts))
        if self._is_due(standing):
            self.sample(standing)
        if standing.step != 1 and standing.step % self.recipe.training.logging_steps:
            return
        steps = self._since
        self._since = []
        seconds = sum(step["step_seconds"] for step in steps)
        tokens = standing.tokens / standing.step * len(steps)
        loss = sum(step["loss"] for step in steps) / len(steps)
        speed = tokens / seconds
        record = {
            "kind": "train",
            "step": standing.step,
            "tokens": standing.tokens,
            "seconds": round(standing.seconds, 3),
            "loss": loss,
            **self._scaled(loss),
            "learning_rate": steps[-1]["learning_rate"],
            "gradient_norm": steps[-1]["gradient_norm"],
            "tokens_per_second": speed,
            "peak_share": speed * self.model.flops_per_token() / (self.peak_flops * self.workers.count),
        }
        others = {name: value for name, value in steps[-1].items() if name not in (*record, "step_seconds")}
        self._write({**record, **others})
        self._show(record)

    def _scaled(self, loss: float) -> dict[str, float]:
        """Return bits per byte, where the loss is −ln p of the text and no more."""
        if self.bytes_per_token is None or not self.recipe.objective.is_plain:
            return {}
        return {"bits_per_byte": loss / math.log(2) / self.bytes_per_token}

    def _is_due(self, standing: Standing) -> bool:
        settings = self.recipe.samples
        last = standing.step == self.recipe.training.max_steps
        return bool(settings.prompts or settings.sources) and (last or standing.step % settings.steps == 0)

    def validate(self, standing: Standing) -> float | None:
        """Score the held-out documents; write samples when they are due."""
        loss = None
        if self.held_out is not None:
            started = time.perf_counter()
            found = self._judge(self.held_out)
            loss = found["loss"]
            if self.recipe.objective.measures_text:
                found = self.held_out.on_scale(found)
            record = {
                "kind": "validation",
                "step": standing.step,
                "tokens": standing.tokens,
                "seconds": round(standing.seconds, 3),
                **found,
                "validation_seconds": round(time.perf_counter() - started, 3),
            }
            self._write(record)
            said = ", ".join(_said(name, value) for name, value in found.items())
            self._say(f"step {standing.step}: validation {said}")
        return loss

    def improved(self, standing: Standing) -> None:
        """Keep the weights as the run's model."""
        self.keep_best()

    def sample(self, standing: Standing) -> None:
        """Let the model continue each prompt, and answer each source.

        The first worker writes alone: texts of two workers would end at different tokens wherever their seeds or
        their rounding differ, and a worker that still asks for a shard would wait for ever.
        """
        settings = self.recipe.samples
        self.model.eval()
        assert isinstance(self.model, LanguageModel)
        texts: list[list[Generation]] = []
        with torch.no_grad(), self.workers.held_whole(self.model):
            if self.workers.is_first:
                writer = Writer(
                    self.model, self.material.tokenizer, source_tokenizer=self.material.source_tokenizer
                )
                texts = writer.generate(settings.prompts, settings.sampling)
                texts += writer.answer(settings.sources, settings.sampling) if settings.sources else []
        if not texts:
            return
        shown = [*settings.prompts, *(f"{source} → " for source in settings.sources)]
        for prompt, (first, *_) in zip(shown, texts, strict=True):
            self._write({"kind": "sample", "step": standing.step, "prompt": prompt, "text": first.text})
            self._say(f"step {standing.step}: {prompt}{first.text}")

    @torch.no_grad()
    def _judge(self, held_out: HeldOut) -> dict[str, float]:
        """Return the mean of every term that the objective judges the held-out documents by."""
        workers = self.workers
        feed, rows_that_read_on = held_out.look(workers.count)
        carry, sums = self._memory(rows_that_read_on), dict[str, list[float]]()
        for step in range(feed.steps):
            rows = feed.step(step, workers.rank, workers.count)
            # The same draws at every look, so that looks can be compared.
            generator = torch.Generator().manual_seed(step * workers.count + workers.rank)
            batch = replace(self.objective.prepare(rows, generator).to(self.device.torch), carry=carry)
            for name, term in self.objective.judge(self.model, batch).items():
                total, count = sums.get(name, (0.0, 0.0))
                sums[name] = [total + float(term.total.sum()), count + float(term.count.sum())]
        pairs = workers.sum(torch.tensor(list(sums.values()), device=self.device.torch)).tolist()
        return {name: total / count for name, (total, count) in zip(sums, pairs, strict=True) if count}

    def _memory(self, rows: int | None) -> Carry | None:
        """Return a memory for rows that read on, for a model that can."""
        if rows is None or not isinstance(self.model, LanguageModel) or self.model.context is not None:
            return None
        mine = dealt(rows, self.workers.rank, self.workers.count)
        return Carry(self.model.begin(len(mine)))

    def _write(self, record: Mapping[str, Any]) -> None:
        if self.records is not None:
            self.records.write(record)
            for tracker in self.trackers:
                tracker(record)

    def _show(self, record: Mapping[str, Any]) -> None:
        if self.progress is not None:
            shown = ("loss", "bits_per_byte", "tokens_per_second", "peak_share")
            self.progress.update(
                int(record["step"]), {name: record[name] for name in shown if name in record}
            )

    def _say(self, text: str) -> None:
        if self.progress is not None:
            self.progress.say(text)


def _said(name: str, value: float) -> str:
    """Return a figure as a person reads it.

    >>> _said("bits_per_byte", 2.3434), _said("loss", 5.1), _said("accuracy", 0.25)
    ('2.343 bits per byte', 'loss 5.100', 'accuracy 25.0%')
    """
    if name == "bits_per_byte":
        return f"{value:.3f} bits per byte"
    return f"{name} {value:.1%}" if name.endswith("accuracy") else f"{name} {value:.3f}"


def tracker_callbacks(recipe: Recipe, folder: Path) -> list[Callable[[Mapping[str, Any]], None]]:
    """Return a writer for each tracker the recipe names; raises ValueError when its extra is missing."""
    found: list[Callable[[Mapping[str, Any]], None]] = []
    if recipe.trackers.tensorboard:
        found.append(_tensorboard(folder))
    if recipe.trackers.trackio:
        found.append(_trackio(recipe, folder))
    return found


def _tensorboard(folder: Path) -> Callable[[Mapping[str, Any]], None]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError('trackers.tensorboard needs an extra: pip install "rootlm[tensorboard]"') from None
    writer = SummaryWriter(str(folder / "tensorboard"))

    def log(record: Mapping[str, Any]) -> None:
        for name, value in _numbers(record).items():
            writer.add_scalar(f"{record['kind']}/{name}", value, record["step"])
        writer.flush()

    return log


def _trackio(recipe: Recipe, folder: Path) -> Callable[[Mapping[str, Any]], None]:
    try:
        import trackio
    except ImportError:
        raise ValueError('trackers.trackio needs an extra: pip install "rootlm[trackio]"') from None
    trackio.init(project=recipe.trackers.trackio, name=folder.name)

    def log(record: Mapping[str, Any]) -> None:
        numbers = {f"{record['kind']}/{name}": value for name, value in _numbers(record).items()}
        if numbers:
            trackio.log(numbers, step=record["step"])

    return log


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    if "step" not in record:
        return {}
    return {k: v for k, v in record.items() if isinstance(v, int | float) and k not in ("step", "kind")}
