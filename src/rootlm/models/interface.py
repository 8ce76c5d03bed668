"""What every model is to the rest of the house, and the one interface of every next-token model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from rootlm.models.adaptation import Adaptation
from rootlm.models.network_config import NetworkConfig


class State(Protocol):
    """All a model must remember to go on reading; a row per sequence.

    `forward` consumes the state it is given. Who needs the old one takes a `select` of all rows first.
    """

    @property
    def lengths(self) -> Tensor:
        """Tokens read by each row, int64 of shape (rows,)."""
        ...

    def select(self, rows: Tensor) -> Self:
        """Return a copy with the given rows, in that order; a row may be repeated or left out."""
        ...

    def join(self, other: Self) -> Self:
        """Return a state with the rows of both, these first."""
        ...

    def rewind(self, counts: Tensor) -> Self:
        """Return a state in which each row has forgotten its last `counts[row]` tokens.

        Every state can, back to where the row's segment began: keys and values are cut off, a memory that cannot be
        cut goes back to an earlier one and reads again. It costs little as far as the last reading goes.
        """
        ...


@runtime_checkable
class SiblingState(State, Protocol):
    """A state whose rows can take each other's place cheaply where they differ in their last tokens only."""

    def replace(self, rows: Tensor, recent: Tensor) -> Self:
        """Make row i what row `rows[i]` is, all at once, and return the state; the old one is consumed.

        There are as many rows as before. Row i and row `rows[i]` were one until their last `recent[i]` tokens.
        """
        ...


class LastingState(State, Protocol):
    """A state that can be carried from step to step of a training run, and saved with it."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return all it holds, by name."""
        ...

    def filled(self, tensors: Mapping[str, Tensor]) -> Self:
        """Return the state, of as many rows, that gave these tensors."""
        ...


@dataclass(frozen=True)
class All:
    """Ask for logits at every position: values are (batch, time, vocabulary)."""


@dataclass(frozen=True)
class Last:
    """Ask for logits at the last `count` positions of each row: values are (batch, count, vocabulary)."""

    count: int = 1


@dataclass(frozen=True, eq=False)
class Targets:
    """Ask for −ln p of given ids, in nats: values are (batch, time), 0 where an id is negative.

    `weights` (batch, time) announces how the caller will weigh each value, which saves work and memory in
    training. `z_loss` and `label_smoothing` change what training minimises; scoring leaves them at 0.
    """

    ids: Tensor
    weights: Tensor | None = None
    label_smoothing: float = 0.0
    z_loss: float = 0.0


@dataclass(frozen=True, eq=False)
class Ranks:
    """Ask for −ln p of given ids and how many ids are likelier: values are (batch, time, 2), float32.

    A rank of 0 is a correct greedy guess; ids that are negative give zeros.
    """

    ids: Tensor


Ask = All | Last | Targets | Ranks


class Prediction(NamedTuple):
    """What a model answers: the values asked for, the state to go on, named extra losses.

    A model that attends to a source, given a state or a source that is `watched`, also says how much each token
    heard of each place of it: `attention`, (batch, time, places), with a sum of 1 over the places.
    """

    values: Tensor
    state: State | None
    penalties: Mapping[str, Tensor] = {}
    attention: Tensor | None = None


class Network(nn.Module):
    """What a trainer, a checkpoint and a run folder need of any model."""

    config: NetworkConfig
    """All that `build` needs to make it again."""
    vocab_size: int
    context: int | None
    """The most tokens a row may hold, or None when there is no limit."""
    stream_dtype: torch.dtype | None
    """The type to compute in while the weights keep theirs (mixed precision); None computes in the weights' type."""

    adaptation: Adaptation | None = None
    """How it was adapted: then only what that added is learned and kept."""

    @abstractmethod
    def flops_per_token(self) -> float:
        """Return the floating-point operations that training on one token takes, forward and backward."""

    def compiled_parts(self) -> Iterable[nn.Module]:
        """Return the parts that are worth compiling, and sharding, one by one."""
        return ()

    @property
    def device(self) -> torch.device:
        """Where tokens are read and values come from: where the weights lie; the processor for a model without any."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    def n_parameters(self) -> int:
        """Return how many numbers were learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def input_table(self) -> nn.Embedding:
        """What gives each token its vector; raises ValueError for a model that has no such table."""
        for name, part in self.named_modules():
            if name.rpartition(".")[2] == "embedding" and isinstance(part, nn.Embedding):
                return part
        raise ValueError(f"model.kind={self.config.kind} has no embedding; name another model.kind")

    def make_room(self, shapes: Mapping[str, torch.Size]) -> None:
        """Take on the shapes of a file's tensors where only the data says how large a tensor is."""

    def tie(self) -> None:
        """Make shared parameters one again after weights were put in by assignment."""


class Encoder(Network):
    """A vector for every token, from all of its text at once: what comes before it and what comes after."""

    hidden_size: int
    predicts: bool = True
    """Whether `predict` can be asked."""

    @abstractmethod
    def forward(
        self,
        tokens: Tensor,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        *,
        types: Tensor | None = None,
    ) -> Tensor:
        """Return the stream (batch, time, hidden) of `tokens`, int64 of shape (batch, time).

        `lengths` (batch,) says how many tokens of each right-padded row are real; what is returned for the others
        means nothing. `segments` (batch, time) keeps texts apart that lie in one row: its value changes where
        another one begins. `types` (batch, time) says which part of a pair of texts a token belongs to.
        """

    @abstractmethod
    def predict(self, hidden: Tensor, ask: Ask = All()) -> Tensor:
        """Say which token stands where `hidden` (batch, time, hidden) is, as a language model says the next one."""

    @abstractmethod
    def tell(self, name: str, hidden: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return the numbers (batch, outputs) that the head of that name says of each whole row.

        Raises ValueError when there is no such head.
        """


class LanguageModel(Network):
    """A distribution over the next token, read left to right."""

    short_until: int | None = None
    """A longer text is read as another one, from its beginning (LongRoPE); None where length changes nothing."""

    @abstractmethod
    def forward(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        ask: Ask = All(),
    ) -> Prediction:
        """Read `tokens`, int64 of shape (batch, time), after what `state` remembers.

        `lengths` (batch,) says how many tokens of each right-padded row are real; `Last` counts back from there.
        `segments` (batch, time), non-decreasing along time, starts afresh wherever its value changes; without
        one, a row is one segment. Given a state (`begin`), the answer holds the state to go on from; given None,
        nothing is remembered and the state in the answer is None.
        """

    @abstractmethod
    def begin(self, rows: int, capacity: int | None = None) -> State:
        """Return an empty state for `rows` sequences; `capacity` is a hint of how many tokens will be read."""


class Source(NamedTuple):
    """Right-padded texts to be read before another is written: ids (rows, places), and how many are real (rows,).

    Of a `watched` source the answer says how much each token heard of each place, with gradients.
    """

    ids: Tensor
    lengths: Tensor | None = None
    watched: bool = False


class SourceModel(LanguageModel):
    """A language model of a target, after a source that it has read: an encoder–decoder.

    Without a source it is a language model of its targets alone, so all that is done with language models can be
    done with it.
    """

    @abstractmethod
    def forward(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        ask: Ask = All(),
        source: Source | None = None,
    ) -> Prediction:
        """Read `tokens` as a `LanguageModel` does; a state brings its sources, training gives them along."""

    @abstractmethod
    def read(self, source: Tensor, lengths: Tensor | None = None, *, capacity: int | None = None) -> State:
        """Return a state that has read sources (rows, places), right-padded, and nothing of their targets.

        `capacity` is a hint of how many tokens of the targets will be read. Raises ValueError for an empty source.
        """

    @abstractmethod
    def attention(self, source: Source, tokens: Tensor) -> Tensor:
        """Return what the targets `tokens` (rows, time) listen to: (rows, heads, time, places)."""


def checked_source(source: Tensor, lengths: Tensor | None, context: int | None) -> Tensor:
    """Return the lengths of sources (rows, places); raises ValueError for one that is empty or too long."""
    rows, places = source.shape
    sizes = torch.full((rows,), places, device=source.device) if lengths is None else lengths
    if not places or bool((sizes < 1).any()):
        number = 0 if not places else int((sizes < 1).nonzero()[0])
        raise ValueError(f"source {number + 1} is empty: there is nothing to read; give a text")
    if context is not None and places > context:
        raise ValueError(f"a source of {places} tokens does not fit a context of {context}; shorten the text")
    return sizes
