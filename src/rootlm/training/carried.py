"""What rows remember from step to step: given to each batch, saved with each checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor

from rootlm.core.workers import Workers
from rootlm.models.interface import LanguageModel, LastingState, Network
from rootlm.objectives.objective import Batch, Carry

PREFIX = "carried."


class Carried:
    """The states of a step's pieces on this worker, from one step to the next.

    Raises ValueError when the model's state has a limit that reading on would exceed.
    """

    def __init__(self, model: Network, workers: Workers) -> None:
        if not isinstance(model, LanguageModel) or model.context is not None:
            raise ValueError(
                f"training.carry needs a model that reads on without a limit, and a {model.config.kind} has one; "
                "set training.carry=false or choose another model.kind"
            )
        self._model, self._workers = model, workers
        self._pieces: list[Carry] = []
        self._saved: Mapping[str, Tensor] = {}

    def given(self, pieces: Sequence[Batch]) -> list[Batch]:
        """Return the pieces of a step, each with what its rows remember."""
        while len(self._pieces) < len(pieces):
            number = len(self._pieces)
            state = cast(LastingState, self._model.begin(len(pieces[number])))
            prefix = f"{self._own}{number}."
            saved = {n.removeprefix(prefix): t for n, t in self._saved.items() if n.startswith(prefix)}
            self._pieces.append(Carry(state.filled(saved) if saved else state))
        return [replace(piece, carry=carry) for piece, carry in zip(pieces, self._pieces, strict=True)]

    def tensors(self) -> dict[str, Tensor]:
        """Return what all workers remember, by name; all of them must ask."""
        own = {
            f"{self._own}{number}.{name}": tensor.detach().cpu().contiguous()
            for number, carry in enumerate(self._pieces)
            for name, tensor in cast(LastingState, carry.state).tensors().items()
        }
        return {name: tensor for held in self._workers.collect(own) for name, tensor in held.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to what `tensors` gave; raises ValueError when other workers saved it."""
        held = {name: tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
        ranks = {name.split(".")[1] for name in held}
        if held and len(ranks) != self._workers.count:
            raise ValueError(
                f"this run was begun by {len(ranks)} workers, each of which carries its own rows; "
                f"go on with as many, not {self._workers.count}"
            )
        self._pieces, self._saved = [], held

    @property
    def _own(self) -> str:
        return f"{PREFIX}{self._workers.rank}."
