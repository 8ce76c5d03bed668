"""The n-gram model: what followed the last few tokens, counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rootlm.models.interface import (
    All,
    Ask,
    LanguageModel,
    Last,
    Prediction,
    Ranks,
    State,
    Targets,
)
from rootlm.models.ngram_settings import NgramConfig
from rootlm.models.ngram_state import Read, changes
from rootlm.models.ngram_tables import NAMES, Followers, Tables, uniform

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Step:
    """One order on the way from the longest n-gram known to the answer."""

    order: int
    """Tokens of the n-gram."""
    nats: float
    """What this step adds to −ln p: a back-off, or at the last step the answer itself."""
    answered: bool
    """True at the order that knew the token."""


class Ngram(LanguageModel):
    """Tables of n-grams behind the interface of every language model.

    The tables stay in memory in their own types, whatever device and type the rest computes in.
    """

    config: NgramConfig
    sizes: Tensor
    words: Tensor
    starts: Tensor
    logps: Tensor
    backoffs: Tensor
    floors: Tensor

    def __init__(self, config: NgramConfig, vocab_size: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.context = config, vocab_size, None
        self.stream_dtype = None
        self._tables: Tables | None = None
        self._followers: Followers | None = None
        for name in NAMES:
            self.register_buffer(name, torch.empty(0))
        self.take(uniform(config.order, vocab_size))

    @property
    def tables(self) -> Tables:
        """The tables as arrays that share memory with the model's tensors."""
        if self._tables is None:
            tables = Tables(**{name: self.get_buffer(name).numpy() for name in NAMES})
            tables.check(self.vocab_size)
            self._tables = tables
        return self._tables

    def take(self, tables: Tables) -> Self:
        """Make these the model's tables; returns the model."""
        for name in NAMES:
            setattr(self, name, torch.from_numpy(getattr(tables, name)).to(self.get_buffer(name).device))
        self._tables = self._followers = None
        return self

    def make_room(self, shapes: Mapping[str, torch.Size]) -> None:
        """Take on the lengths of a file's tables; the data alone says how long they are."""
        for name in NAMES:
            if name in shapes and len(shapes[name]) == 1:
                setattr(self, name, self.get_buffer(name).new_empty(shapes[name]))
        self._tables = self._followers = None

    def tie(self) -> None:
        """Look at tables that were put in by assignment; raises ValueError when they do not fit each other."""
        self._tables = self._followers = None
        self.tables  # noqa: B018 - checked when they are looked at

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Stay where the compiled walks read: a change of device or type is for what computes in tensors."""
        return self

    def n_parameters(self) -> int:
        """Return how many probabilities and back-offs there are."""
        return len(self.logps) + len(self.backoffs) + len(self.floors)

    def flops_per_token(self) -> float:
        """Return 0: counting and looking up take no floating-point products."""
        return 0.0

    def begin(self, rows: int, capacity: int | None = None) -> Read:
        """Return an empty state for `rows` sequences."""
        zeros = torch.zeros(rows, dtype=torch.int64)
        return Read(torch.zeros(rows, capacity or 64, dtype=torch.int64), zeros, zeros.clone())

    @torch.no_grad()
    def forward(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        ask: Ask = All(),
    ) -> Prediction:
        """Read `tokens` (batch, time) as `LanguageModel.forward` says; values are exact logarithms.

        Raises ValueError for an id outside the vocabulary.
        """
        assert state is None or isinstance(state, Read)
        device, tokens = tokens.device, tokens.cpu()
        segments = None if segments is None else segments.cpu()
        self._check(tokens)
        held = self.begin(len(tokens), 0) if state is None else state
        extra = self.config.order - 1
        before, known = held.before(extra)
        rows = torch.cat([before, tokens], 1)  # (batch, extra + time)
        changed = changes(tokens, segments, held)
        place = torch.arange(tokens.shape[1])
        # Where the segment of each place began: a column of `rows`, and a place among all tokens of the row.
        newest = torch.where(changed, place, -1).cummax(1).values
        columns = torch.where(newest >= 0, newest + extra, (extra - known)[:, None])
        if state is not None:
            lows = torch.where(newest >= 0, newest + held.lengths[:, None], held.starts[:, None])
            state = held.after(tokens, lengths, lows, segments)
        values = self._answer(rows.numpy(), columns.numpy(), lengths, ask)
        return Prediction(values.to(device), state)

    def _answer(self, rows: Ints, lows: Ints, lengths: Tensor | None, ask: Ask) -> Tensor:
        from rootlm.models import ngram_kernel

        order, (batch, time) = self.config.order, lows.shape
        match ask:
            case All():
                return self._distributions(rows, lows, np.zeros(batch, np.int64), time)
            case Last(count):
                ends = np.full(batch, time) if lengths is None else lengths.cpu().numpy()
                return self._distributions(rows, lows, ends - count, count)
            case Targets():
                asked, values = self._asked(ask.ids), np.zeros((batch, time))
                ngram_kernel.costs(self._tree, order, rows, lows, asked, values)
                return torch.from_numpy(values).float()
            case Ranks():
                asked, found = self._asked(ask.ids), np.zeros((batch, time, 2), np.float32)
                known = self._known
                ngram_kernel.ranks(self._tree, known, order, rows, lows, asked, self.vocab_size, found)
                return torch.from_numpy(found)

    def _distributions(self, rows: Ints, lows: Ints, first: Ints, count: int) -> Tensor:
        from rootlm.models import ngram_kernel

        out = np.zeros((len(rows), count, self.vocab_size), np.float32)
        first = np.ascontiguousarray(first, np.int64)
        ngram_kernel.distributions(self._tree, self._known, self.config.order, rows, lows, first, out)
        return torch.from_numpy(out)

    @property
    def _tree(self) -> tuple[Any, ...]:
        tables = self.tables
        return tables.words, tables.starts, tables.logps, tables.backoffs, tables.floors

    @property
    def _known(self) -> tuple[Any, ...]:
        if self._followers is None:
            self._followers = self.tables.followers()
        return self._followers.starts, self._followers.words, self._followers.logps

    def _asked(self, ids: Tensor) -> Ints:
        self._check(ids)
        asked: Ints = np.ascontiguousarray(ids.cpu().numpy(), np.int64)
        return asked

    def _check(self, ids: Tensor) -> None:
        """Raise ValueError for ids that no table has; a walk would read beside them."""
        if ids.numel() and int(ids.max()) >= self.vocab_size:
            raise ValueError(f"id {int(ids.max())} is outside a vocabulary of {self.vocab_size}")

    def nats_of(self, tokens: Ints, lows: Ints, asked: Ints) -> NDArray[np.float64]:
        """Return −ln p of asked[t] after tokens[lows[t]] … tokens[t]: many texts in one row, in double precision.

        Raises ValueError for an id outside the vocabulary.
        """
        from rootlm.models.ngram_kernel import costs

        for ids in (tokens, asked):
            self._check(torch.from_numpy(ids))
        extra = self.config.order - 1
        row = np.concatenate([np.zeros(extra, np.int64), tokens])[None]
        values = np.zeros((1, len(asked)))
        costs(self._tree, self.config.order, row, lows[None] + extra, asked[None], values)
        nats: NDArray[np.float64] = values[0]
        return nats

    def path(self, context: list[int], token: int) -> list[Step]:
        """Return how p of a token after a context came about: a step for each order tried, longest first.

        The nats of all steps add up to −ln p. Raises ValueError for an id outside the vocabulary.
        """
        from rootlm.models.ngram_kernel import usable, walk, weigh

        self._check(torch.tensor([*context, token]))
        tables, order = self.tables, self.config.order
        row = np.asarray([0, *context], np.int64)
        nodes, above = np.zeros(order + 1, np.int64), np.zeros(order + 1, np.int64)
        depth = 0
        if context and order > 1:
            depth = walk(tables.words, tables.starts, row[-1], row, len(row) - 2, 1, order - 1, above)
        matched = walk(tables.words, tables.starts, token, row, len(row) - 1, 1, order, nodes)
        if len(tables.floors):
            depth = usable(tables.floors, above, depth)
            answer = weigh(self._tree, nodes, matched, above, depth)
            return [Step(depth + 1, -answer, True)]
        tried = range(depth, matched - 1, -1)
        steps = [Step(length + 1, -float(tables.backoffs[above[length - 1]]), False) for length in tried]
        return [*steps, Step(matched, -float(tables.logps[nodes[matched - 1]]), True)]
