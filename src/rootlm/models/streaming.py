"""Models that read on from a small memory: what recurrent, convolutional and feed-forward networks share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rootlm.layers.linear import Linear
from rootlm.layers.pieces import UNLABELLED, Pieces, cut
from rootlm.models.answers import answer
from rootlm.models.interface import All, Ask, LanguageModel, Prediction, State

Memory = tuple[Tensor, ...]
"""What rows remember; each tensor holds a row for each of them."""
_LASTING = ("lengths", "since", "segments")
_READINGS = ("ids", "known", "before")


@dataclass(frozen=True)
class Remembered:
    """The state of a model whose memory cannot be cut: after a rewind, a row reads again what it has not forgotten.

    `since` (rows,) counts the tokens of each row's segment, `segments` (rows,) names it. `ids` (rows, room) are those
    tokens. Row r remembers `memory` after `known[r]` of them; `earlier`, its memory as the last reading began, after
    `before[r]`. A state that went through training keeps no ids and nothing earlier: nobody rewinds it.
    """

    memory: Memory
    earlier: Memory
    named: Mapping[str, Tensor]

    @classmethod
    def empty(cls, blank: Memory, capacity: int) -> Remembered:
        """Return the state of rows that have read nothing."""
        rows, device = len(blank[0]), blank[0].device
        zeros = torch.zeros(rows, dtype=torch.int64, device=device)
        named = dict.fromkeys(("lengths", "since", "known", "before"), zeros)
        named["segments"] = torch.full_like(zeros, UNLABELLED)
        named["ids"] = torch.zeros(rows, capacity, dtype=torch.int64, device=device)
        return cls(blank, blank, named)

    @property
    def lengths(self) -> Tensor:
        """Tokens read by each row."""
        return self.named["lengths"]

    @property
    def keeps_ids(self) -> bool:
        """True when rows can be rewound."""
        return "ids" in self.named

    def select(self, rows: Tensor) -> Remembered:
        """Return a copy with the given rows, in that order."""
        return self.each(lambda held: held[rows])

    def join(self, other: Remembered) -> Remembered:
        """Return a state with the rows of both, these first."""
        one, two = self, other
        if not (one.keeps_ids and two.keeps_ids):
            one, two = one.without_ids(), two.without_ids()
        else:
            room = max(one.named["ids"].shape[1], two.named["ids"].shape[1])
            one, two = one.with_room(room), two.with_room(room)
        return Remembered(
            tuple(map(_cat, one.memory, two.memory)),
            tuple(map(_cat, one.earlier, two.earlier)),
            {name: _cat(held, two.named[name]) for name, held in one.named.items()},
        )

    def rewind(self, counts: Tensor) -> Remembered:
        """Forget the last `counts[row]` tokens of each row; raises ValueError beyond a segment's beginning."""
        counts = counts.to(self.lengths)
        if not self.keeps_ids and bool((counts > 0).any()):
            raise ValueError(
                "a state carried through training cannot be rewound; begin a new one and read again"
            )
        if bool((counts > self.named["since"]).any()):
            raise ValueError("rewind goes back further than the row has read since its segment began")
        changed = {name: self.named[name] - counts for name in ("lengths", "since")}
        return Remembered(self.memory, self.earlier, {**self.named, **changed})

    def tensors(self) -> dict[str, Tensor]:
        """Return what reading on needs, by name."""
        memory = {f"memory.{number}": held for number, held in enumerate(self.memory)}
        return {name: self.named[name] for name in _LASTING} | memory

    def filled(self, tensors: Mapping[str, Tensor]) -> Remembered:
        """Return the state, of as many rows, that gave these tensors."""
        place = self.lengths.device
        # Copies: products of memory that lies as a file had it are rounded in another way.
        held = {name: tensor.to(place, copy=True) for name, tensor in tensors.items()}
        memory = tuple(held[f"memory.{number}"] for number in range(len(self.memory)))
        return Remembered(memory, (), {name: held[name] for name in _LASTING})

    def each(self, change: Callable[[Tensor], Tensor]) -> Remembered:
        """Return the state with every tensor changed."""
        named = {name: change(held) for name, held in self.named.items()}
        return Remembered(tuple(map(change, self.memory)), tuple(map(change, self.earlier)), named)

    def without_ids(self) -> Remembered:
        """Return the state that can only read on."""
        return Remembered(self.memory, (), {name: self.named[name] for name in _LASTING})

    def with_room(self, room: int) -> Remembered:
        """Return the state with room for as many ids."""
        ids = self.named["ids"]
        wider = torch.nn.functional.pad(ids, (0, max(0, room - ids.shape[1])))
        return Remembered(self.memory, self.earlier, {**self.named, "ids": wider})


class StreamingModel(LanguageModel):
    """A model that reads each piece of text from a memory of fixed size, and has no limit of length."""

    context: None
    head: Linear

    @abstractmethod
    def blank(self, rows: int) -> Memory:
        """Return the memory of rows that have read nothing."""

    @abstractmethod
    def trunk(self, tokens: Tensor, sizes: Tensor | None, memory: Memory) -> tuple[Tensor, Memory]:
        """Read `tokens` (rows, time), the first `sizes` (rows,) of each, at least one; None reads all.

        Returns what the head reads, (rows, time, width), of any value beyond a row's size, and the memory after each.
        """

    def begin(self, rows: int, capacity: int | None = None) -> Remembered:
        """Return an empty state for `rows` sequences."""
        return Remembered.empty(self.blank(rows), capacity or 64)

    def forward(
        self,
        tokens: Tensor,
        state: State | None = None,
        *,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        ask: Ask = All(),
    ) -> Prediction:
        """Read `tokens` (batch, time) as `LanguageModel.forward` says."""
        assert state is None or isinstance(state, Remembered)
        if state is not None:
            state = self._caught_up(state)
        memory = self.blank(len(tokens)) if state is None else state.memory
        held = None if state is None else state.named["segments"]
        pieces = cut(tokens, lengths, segments, held)
        hidden, after = self._read(tokens, pieces, memory)
        if state is not None:
            state = self._moved_on(state, tokens, pieces, segments, after)
        return Prediction(answer(self.head, hidden, lengths, ask), state)

    def _read(self, tokens: Tensor, pieces: Pieces | None, memory: Memory) -> tuple[Tensor, Memory]:
        """Return what the head reads, (batch, time, width), and the memory of each row."""
        if pieces is None:
            return self.trunk(tokens, None, memory)
        if not len(pieces.rows):
            # No row holds a token: one is read in vain for the shape of the answer.
            hidden, _ = self.trunk(tokens, None, memory)
            return torch.zeros_like(hidden), memory
        blank = self.blank(len(pieces.rows))
        given = tuple(
            torch.where(pieces.fresh.view(-1, *[1] * (own.ndim - 1)), empty, own[pieces.rows])
            for own, empty in zip(memory, blank, strict=True)
        )
        hidden, ends = self.trunk(pieces.take(tokens), pieces.sizes, given)
        after = tuple(map(pieces.at_the_end, ends, memory))
        return pieces.put_back(hidden, tokens.shape[1]), after

    def _moved_on(
        self, state: Remembered, tokens: Tensor, pieces: Pieces | None, segments: Tensor | None, after: Memory
    ) -> Remembered:
        """Return the state after the tokens were read."""
        rows, time = tokens.shape
        old, zeros = state.named, torch.zeros_like(state.lengths)
        if pieces is None:
            begins, sizes, read, fresh = zeros, zeros + time, zeros + time, zeros.bool()
        else:
            begins, sizes = (pieces.at_the_end(part, zeros) for part in (pieces.starts, pieces.sizes))
            fresh, read = pieces.at_the_end(pieces.fresh, zeros.bool()), begins + sizes
        base = torch.where(fresh, 0, old["since"])
        named = {"lengths": old["lengths"] + read, "since": base + sizes, "segments": old["segments"]}
        if segments is not None:
            label = segments.gather(1, (read - 1).clamp(min=0)[:, None])[:, 0]
            named["segments"] = torch.where(read > 0, label, old["segments"])
        after = tuple(part.detach() for part in after)
        if torch.is_grad_enabled() or not state.keeps_ids:
            return Remembered(after, (), named)
        needed = int(named["since"].max()) if rows else 0
        ids = old["ids"]
        if needed > ids.shape[1]:
            ids = state.with_room(max(needed, 2 * ids.shape[1])).named["ids"]
        columns = torch.arange(time, device=tokens.device)
        real = (columns >= begins[:, None]) & (columns < read[:, None])
        places = (base - begins)[:, None] + columns
        row_of = torch.arange(rows, device=tokens.device)[:, None].expand_as(places)
        ids[row_of[real], places[real]] = tokens[real]
        blank = self.blank(rows)
        earlier = tuple(
            torch.where(fresh.view(-1, *[1] * (own.ndim - 1)), empty, own)
            for own, empty in zip(state.memory, blank, strict=True)
        )
        return Remembered(after, earlier, {**named, "ids": ids, "known": named["since"], "before": base})

    def _caught_up(self, state: Remembered) -> Remembered:
        """Let rows that were rewound read again, from where the last reading began or from their beginning."""
        if not state.keeps_ids:
            return state
        named = state.named
        stale = (named["known"] != named["since"]).nonzero()[:, 0]
        if not len(stale):
            return state
        since, before = named["since"][stale], named["before"][stale]
        near = since >= before
        start = torch.where(near, before, 0)
        blank = self.blank(len(stale))
        given = tuple(
            torch.where(near.view(-1, *[1] * (own.ndim - 1)), own[stale], empty)
            for own, empty in zip(state.earlier, blank, strict=True)
        )
        columns = torch.arange(max(1, int((since - start).max())), device=since.device)
        places = torch.minimum(
            start[:, None] + columns, torch.tensor(named["ids"].shape[1] - 1, device=since.device)
        )
        tokens = named["ids"][stale].gather(1, places)
        _, read = self._read(tokens, cut(tokens, since - start, None, None), given)
        memory = tuple(
            own.index_copy(0, stale, new.to(own.dtype)) for own, new in zip(state.memory, read, strict=True)
        )
        return Remembered(memory, state.earlier, {**named, "known": named["since"]})


def _cat(one: Tensor, other: Tensor) -> Tensor:
    return torch.cat([one, other])
