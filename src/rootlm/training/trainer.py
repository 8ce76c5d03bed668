"""The one trainer: reads a step's rows, sums the terms, divides once, steps the optimizer, remembers everything."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor

from rootlm.core.config import to_plain
from rootlm.core.device import Device, synchronize
from rootlm.core.workers import Workers, share_like, whole
from rootlm.data.windows import Feed
from rootlm.models.catalog import learned
from rootlm.models.interface import Network
from rootlm.objectives.objective import Batch, Objective
from rootlm.training.carried import PREFIX, Carried
from rootlm.training.checkpoints import Checkpoint, Checkpoints
from rootlm.training.optimizers import add_penalties, restore_state, state_tensors
from rootlm.training.training_config import TrainingConfig


@dataclass
class Standing:
    """Where a run stands."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    best_step: int | None = None
    best_loss: float | None = None
    waited: int = 0
    validated_step: int = -1


class Watcher(Protocol):
    """What a run hands to the trainer, so that the trainer need not know of files, text or people."""

    def train(self, standing: Standing, facts: Mapping[str, float]) -> None:
        """A training record is due."""
        ...

    def validate(self, standing: Standing) -> float | None:
        """Return the validation loss in nats per prediction, or None when there is nothing to validate on."""
        ...

    def improved(self, standing: Standing) -> None:
        """The model is the best so far."""
        ...


class Trainer:
    """Trains a model for `steps` steps; all that happens in step s follows from the seed, s and the weights."""

    def __init__(
        self,
        model: Network,
        objective: Objective,
        loader: Feed,
        config: TrainingConfig,
        *,
        steps: int,
        place: tuple[Device, Workers] = (Device(torch.device("cpu"), "float32", ""), Workers()),
    ) -> None:
        self.model, self.objective, self.loader, self.config, self.steps = (
            model,
            objective,
            loader,
            config,
            steps,
        )
        self.device, self.workers = place
        if config.batch_size % self.workers.count:
            raise ValueError(
                f"batch_size {config.batch_size} is not a multiple of {self.workers.count} workers; choose one that is"
            )
        self._carried = Carried(model, self.workers) if config.carry else None
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        self.optimizers = config.optimizer.build(model)
        self._rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]
        self.standing = Standing()
        self.stop_asked = False

    @property
    def finished(self) -> bool:
        """True when there is nothing left to do: all steps are taken, or patience is spent."""
        return self.standing.step >= self.steps or self._patience_spent()

    def run(self, watcher: Watcher, checkpoints: Checkpoints, until: int | None = None) -> bool:
        """Train to the end, or until asked to stop, or to step `until`; returns True when finished.

        A checkpoint is there before the first step and after the last. Raises ValueError when a loss or gradient
        is not finite, with the batch saved beside the checkpoints.
        """
        # The first worker's look counts for all: a slower one would find what the first has just saved.
        if self.standing.step == 0 and self.workers.agree(not checkpoints.steps()):
            self.save(checkpoints)
        saved = self.standing.step
        while not self.finished:
            self._record_and_step(watcher, checkpoints)
            step = self.standing.step
            if step % self.config.eval_steps == 0 or step in (self.steps, until):
                self._validate(watcher)
            stopping = self._all_stop() or step == until
            if step % self.config.save_steps == 0 or stopping or self.finished:
                self.save(checkpoints)
                saved = step
            if stopping and not self.finished:
                return False
        if saved != self.standing.step:
            self.save(checkpoints)
        return True

    def step(self) -> dict[str, float]:
        """Take one optimizer step; returns the terms' values, the gradient's norm and the tokens read."""
        number = self.standing.step
        self.model.train()
        self._seed(number)
        batch = self._batch(number).to(self.device.torch)
        pieces = batch.split(self.config.gradient_accumulation_steps)
        counts = self._counts(pieces)
        if not counts["loss"] > 0:
            raise ValueError("every target of this batch is masked, so there is nothing to learn from it")
        if self._carried is not None:
            pieces = self._carried.given(pieces)
        totals = self._backward(pieces, counts)
        self.workers.sum_gradients(self.model.parameters())
        add_penalties(self.model.named_parameters(), self.config.l1, self.config.l2)
        norm = self._clip()
        facts = {name: float(total / counts[name].clamp(min=1)) for name, total in totals.items()}
        facts["gradient_norm"] = float(norm)
        if not all(math.isfinite(value) for value in facts.values()):
            raise NotFinite(batch, facts)
        self._schedule(number)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.standing.step += 1
        self.standing.tokens += self.loader.places_per_step
        return facts

    def learning_rate(self, step: int) -> float:
        """Return the first group's rate in `step`."""
        return float(self._rates[0][0] * self.config.schedule.factor(step, self.steps))

    def save(self, checkpoints: Checkpoints) -> None:
        """Write a checkpoint of this very moment."""
        model = {name: _stored(tensor) for name, tensor in learned(self.model).items()}
        trainer = {name: _stored(t) for name, t in state_tensors(self.optimizers, self.names).items()}
        if self._carried is not None:
            trainer |= self._carried.tensors()
        standing = self.standing
        held = Checkpoint(model, trainer, {**asdict(standing), **self._base()})
        self.workers.first_does(lambda: checkpoints.save(standing.step, held, standing.best_step))

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to a checkpoint."""
        facts = dict(checkpoint.facts)
        self._check_base(facts.pop("base", None), facts["step"])
        held = learned(self.model)
        with torch.no_grad():
            for name, tensor in held.items():
                tensor.copy_(share_like(checkpoint.model[name].to(tensor.device), tensor))
        named = dict(self.model.named_parameters())
        tensors = {}
        if self._carried is not None:
            self._carried.restore(checkpoint.trainer)
        for name, tensor in checkpoint.trainer.items():
            if name.startswith(PREFIX):
                continue
            like = named[name.partition(".")[2]]
            placed = tensor.to(like.device)
            own = placed if placed.ndim == 0 else share_like(placed, like)
            tensors[name] = own.clone()
        restore_state(self.optimizers, self.names, tensors)
        self.standing = Standing(**facts)

    def _base(self) -> dict[str, Any]:
        """Return what names the weights that are not in a checkpoint."""
        adaptation = self.model.adaptation
        return {} if adaptation is None else {"base": to_plain(adaptation.base)}

    def _check_base(self, base: Mapping[str, str] | None, step: int) -> None:
        own = self._base().get("base")
        if (base and base["sha256"]) != (own and own["sha256"]):
            raise ValueError(
                f"checkpoint step-{step}: learned on weights {_named(base)}, this run begins from {_named(own)}; "
                "bring the first back, or begin anew with another out="
            )

    def _record_and_step(self, watcher: Watcher, checkpoints: Checkpoints) -> None:
        started = time.perf_counter()
        rate = self.learning_rate(self.standing.step)
        try:
            facts = self.step()
        except NotFinite as problem:
            raise self._explain(problem, checkpoints) from None
        synchronize(self.device)
        seconds = time.perf_counter() - started
        self.standing.seconds += seconds
        with self._looking():
            watcher.train(self.standing, {**facts, "learning_rate": rate, "step_seconds": seconds})

    def _validate(self, watcher: Watcher) -> None:
        if self.standing.validated_step == self.standing.step:
            return
        self.model.eval()
        with self._looking():
            loss = watcher.validate(self.standing)
        if loss is None:
            return
        self.standing.validated_step = self.standing.step
        if self.standing.best_loss is None or loss < self.standing.best_loss:
            self.standing.best_loss, self.standing.best_step = loss, self.standing.step
            self.standing.waited = 0
            watcher.improved(self.standing)
        else:
            self.standing.waited += 1

    @contextmanager
    def _looking(self) -> Iterator[None]:
        """Let others read with the model between two steps."""
        # Validation and samples have shapes of their own: to compile for each takes longer than to run it.
        compiled = self.config.compile is True
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
        self.workers.give_back(self.model)

    def _patience_spent(self) -> bool:
        return self.config.patience is not None and self.standing.waited >= self.config.patience

    def _all_stop(self) -> bool:
        if self.workers.count == 1:
            return self.stop_asked
        asked = torch.tensor(float(self.stop_asked), device=self.device.torch)
        return bool(self.workers.sum(asked) > 0)

    def _seed(self, step: int) -> None:
        # Every step draws afresh from (seed, step, worker), so there is no random state to save or to disturb.
        torch.manual_seed((self.config.seed * 1_000_003 + step) * 4099 + self.workers.rank)

    def _batch(self, step: int) -> Batch:
        windows = self.loader.step(step, self.workers.rank, self.workers.count)
        generator = torch.Generator().manual_seed(
            (self.config.seed * 1_000_003 + step) * 4099 + self.workers.rank + 7
        )
        return self.objective.prepare(windows, generator)

    def _counts(self, pieces: list[Batch]) -> dict[str, Tensor]:
        own = [self.objective.counts(piece) for piece in pieces]
        return {
            name: self.workers.sum(sum((c[name] for c in own[1:]), start=own[0][name])) for name in own[0]
        }

    def _backward(self, pieces: list[Batch], counts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        totals: dict[str, Tensor] = {}
        for piece in pieces:
            terms = self.objective.loss(self.model, piece)
            sums = {name: term.total.sum() for name, term in terms.items()}
            loss = sum(
                (value / counts[name].clamp(min=1) for name, value in sums.items()),
                start=torch.zeros((), device=self.device.torch),
            )
            loss.backward()  # type: ignore[no-untyped-call]
            for name, value in sums.items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + value.detach()
        return {name: self.workers.sum(total) for name, total in totals.items()}

    def _clip(self) -> Tensor:
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        norm = self.workers.norm(gradients)
        if self.config.max_grad_norm is not None and bool(norm > self.config.max_grad_norm):
            torch._foreach_mul_(gradients, float(self.config.max_grad_norm / norm))
        return norm

    def _schedule(self, step: int) -> None:
        factor = self.config.schedule.factor(step, self.steps)
        for optimizer, rates in zip(self.optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor

    def _explain(self, problem: NotFinite, checkpoints: Checkpoints) -> ValueError:
        step = self.standing.step + 1
        file = checkpoints.folder.parent / f"not-finite-step-{step}-worker-{self.workers.rank}.safetensors"
        batch = problem.batch
        save_file({name: tensor.cpu().contiguous() for name, tensor in batch.tensors().items()}, file)
        values = ", ".join(f"{name} {value}" for name, value in problem.facts.items())
        last = checkpoints.steps()
        return ValueError(
            f"step {step} is not finite ({values}); its batch is in {file} and the last good weights in "
            f"{checkpoints.folder / f'step-{last[-1]}' if last else 'no checkpoint'}. "
            "Try a lower training.optimizer.learning_rate, more schedule.warmup_steps or precision float32"
        )


class NotFinite(Exception):
    """A step whose loss or gradient is no number; nothing was changed by it."""

    def __init__(self, batch: Batch, facts: Mapping[str, float]) -> None:
        self.batch, self.facts = batch, facts
        super().__init__("not finite")


def _named(base: Mapping[str, str] | None) -> str:
    return "of its own" if base is None else f"with checksum {base['sha256'][:12]}… ({base['path']})"


def _stored(tensor: Tensor) -> Tensor:
    return whole(tensor.detach()).cpu().contiguous()
