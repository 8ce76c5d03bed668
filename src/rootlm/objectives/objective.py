"""What the trainer needs of an objective, and no more: batches, and named terms with their own counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from torch import Tensor

from rootlm.core.config import Config
from rootlm.models.interface import Network, State
from rootlm.models.network_config import NetworkConfig


@dataclass(frozen=True)
class Term:
    """One part of a loss, kept per example: `total` in nats and `count` of predictions asked, both (examples,)."""

    total: Tensor
    count: Tensor


@dataclass
class Carry:
    """What rows remember from one batch to the next; the objective puts in the model's latest state."""

    state: State | None = None


@dataclass(frozen=True)
class Batch:
    """What a model reads and is asked; every tensor is (rows, time).

    `tokens` and `targets` are int64, `targets` negative where nothing is asked; `weights` float32; `segments`
    int64. An objective that needs more adds tensors with a row for each example.
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    segments: Tensor
    carry: Carry | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.tokens)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by its name."""
        held = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in held.items() if isinstance(value, Tensor)}

    def to(self, device: torch.device) -> Self:
        """Return the batch on a device."""
        placed: dict[str, Any] = {n: t.to(device, non_blocking=True) for n, t in self.tensors().items()}
        return replace(self, **placed)

    def split(self, parts: int) -> list[Self]:
        """Return the rows in `parts` pieces of nearly equal size; fewer when there are fewer rows."""
        assert self.carry is None, "a batch is split before its pieces are given what they carry"
        parts = min(parts, len(self))
        pieces: dict[str, Any] = {name: held.tensor_split(parts) for name, held in self.tensors().items()}
        return [
            replace(self, **{name: held[number] for name, held in pieces.items()}) for number in range(parts)
        ]


Reads = Literal["windows", "documents", "pairs"]
"""What an objective makes its batches of: `windows` of documents laid end to end, whole `documents`, one a row, or
`pairs` of texts."""


class Vocabulary(Config):
    """What an objective may know of the tokenizer."""

    size: int
    """Ids there are."""
    bos_id: int
    """The id that begins a text."""
    eos_id: int
    """The id that ends a text."""
    special_ids: list[int]
    """Ids that text never makes."""
    mask_id: int | None
    """The id that hides a token, where there is one."""
    asked: tuple[int, ...] = ()
    """The ids of the objective's `special_tokens`."""


class ObjectiveConfig(Config):
    """Says what is asked of a model; every kind of objective has one."""

    kind: str
    reads: ClassVar[Reads] = "windows"
    asks: ClassVar[type] = Network
    """What can answer it."""
    hub_task: ClassVar[str] = "text-generation"
    """What model hubs call the work of a model trained so."""
    used_by: ClassVar[str] = 'generate {run} "…"'
    """The verb that shows what was learned, for a run in the folder `run`."""
    measures_text: ClassVar[bool] = False
    """True when the terms of `judge` cost every token of a document once, so that they say bits per byte."""

    @property
    def is_plain(self) -> bool:
        """True when the term `loss` is −ln p and nothing besides."""
        return True

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Names of tokens, made by no text, that the tokenizer must have."""
        return ()

    @property
    def same_tokenizer(self) -> tuple[str, ...]:
        """Run folders whose tokenizer the run must have."""
        return ()

    @property
    def needs_words(self) -> bool:
        """True when its rows must say where words begin."""
        return False

    @property
    def needs_links(self) -> bool:
        """True when its pairs must say which words of the two texts say the same."""
        return False

    @property
    def needs_mask(self) -> bool:
        """True when the tokenizer needs a token that hides others."""
        return False

    def fitted(self, vocabulary: Vocabulary) -> Self:
        """Return the objective with what it must know of the tokenizer."""
        return self

    def network(self, model: NetworkConfig) -> NetworkConfig:
        """Return the network with the parts that this objective asks."""
        return model

    def build(self) -> Objective:
        """Return the objective."""
        raise NotImplementedError


class Objective(Protocol):
    """What is asked of a model and how it is judged."""

    def prepare(self, rows: Any, generator: torch.Generator) -> Batch:
        """Turn what its loader gives, such as `Windows`, into a batch; what is random comes from `generator`."""
        ...

    def counts(self, batch: Any) -> Mapping[str, Tensor]:
        """Return how many predictions each term will ask for, before the model is run; `loss` is among them."""
        ...

    def loss(self, model: Any, batch: Any) -> Mapping[str, Term]:
        """Return the terms of the loss; the trainer sums over the step, then divides by the counts, once."""
        ...

    def judge(self, model: Any, batch: Any) -> Mapping[str, Term]:
        """Return what a validation says: `loss`, in nats and lower when better, and others such as `accuracy`."""
        ...
