"""One reversible map of names: which tensors of another library make one of ours, and which ours makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

_COUNTED = re.compile(r"\{(\w+)\}")


class Tensors(Protocol):
    """Tensors by their names, each read when it is asked for."""

    @property
    def place(self) -> str:
        """Where they lie, for messages."""
        ...

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor, known before any is read."""
        ...

    def dtype(self, name: str) -> torch.dtype:
        """Return the type that `read` gives."""
        ...

    def read(self, name: str) -> Tensor:
        """Return a tensor, which may be a view of its file."""
        ...

    def let_go(self, name: str) -> None:
        """Take note that what was read has been copied, so that its memory can be free again."""
        ...


@dataclass(frozen=True)
class Change:
    """A change of one tensor that can be taken back."""

    read: Callable[[Tensor], Tensor]
    """Makes theirs ours."""
    write: Callable[[Tensor], Tensor]
    """Makes ours theirs."""


TRANSPOSED = Change(lambda theirs: theirs.mT, lambda ours: ours.mT)
"""Matrices that stand the other way round, as GPT-2's do."""


def interleaved(heads: int, parts: int = 3) -> Change:
    """Return what takes apart rows that lie head by head, each with all its parts, and lays part after part."""

    def read(theirs: Tensor) -> Tensor:
        return theirs.reshape(heads, parts, -1, *theirs.shape[1:]).transpose(0, 1).reshape(theirs.shape)

    def write(ours: Tensor) -> Tensor:
        return ours.reshape(parts, heads, -1, *ours.shape[1:]).transpose(0, 1).reshape(ours.shape)

    return Change(read, write)


@dataclass(frozen=True)
class Rule:
    """One tensor of ours and those of theirs that are laid one after another along its first axis.

    Names are templates, as `blocks.{layer}.norm.weight`. `heights` are the rows that each of theirs gives; none
    are needed for one alone.
    """

    ours: str
    theirs: tuple[str, ...]
    heights: tuple[int, ...] = ()
    change: Change | None = None


class Outgoing(NamedTuple):
    """A tensor under the name it is to have, made when it is asked for."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    make: Callable[[], Tensor]


class KeyMap:
    """All rules of one network, written out for every layer (and expert)."""

    def __init__(self, rules: Iterable[Rule], counts: Mapping[str, int], ignored: Sequence[str] = ()) -> None:
        """`counts` says how many layers there are, by the word in braces; `ignored` are patterns of their names."""
        self.pairs = [pair for rule in rules for pair in _written_out(rule, counts)]
        self._ignored = [re.compile(pattern) for pattern in ignored]

    def read(
        self,
        theirs: Tensors,
        wanted: Mapping[str, tuple[int, ...]],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
    ) -> list[Outgoing]:
        """Return each tensor of ours in `wanted` (name → shape), to be made one after another.

        What needs no change is handed on as it was read, so it may lie in a file; `dtype` None keeps the file's.
        Raises ValueError naming the first tensor that is missing, left over or misshapen, before any is read.
        """
        self.check(theirs, wanted)
        found = []
        for pair in self.pairs:
            if pair.ours in wanted:
                kind = dtype or _widest([theirs.dtype(name) for name in pair.theirs])
                make = _reader(pair, theirs, (wanted[pair.ours], kind, torch.device(device)))
                found.append(Outgoing(pair.ours, wanted[pair.ours], kind, make))
        return found

    def write(self, ours: Mapping[str, Tensor]) -> list[Outgoing]:
        """Return all of theirs; a tensor that is not among `ours` (a tied head) gives none."""
        known = {pair.ours for pair in self.pairs}
        left = sorted(set(ours) - known)
        if left:
            raise ValueError(f"{left[0]} has no name in the other library; this network cannot be written so")
        return [
            outgoing
            for pair in self.pairs
            if pair.ours in ours
            for outgoing in _outgoing(pair, ours[pair.ours])
        ]

    def check(self, theirs: Tensors, wanted: Mapping[str, tuple[int, ...]]) -> None:
        """Compare names and shapes; raises ValueError naming the first that does not fit."""
        shapes = theirs.shapes
        expected: dict[str, tuple[int, ...]] = {}
        for pair in self.pairs:
            if pair.ours in wanted:
                ours = torch.empty(wanted[pair.ours], device="meta")
                expected |= {one.name: one.shape for one in _outgoing(pair, ours)}
        for name, shape in expected.items():
            if name not in shapes:
                raise ValueError(f"{theirs.place}: holds no {name}; the file is not whole, copy it again")
            if tuple(shapes[name]) != shape:
                raise ValueError(
                    f"{theirs.place}: {name} is {tuple(shapes[name])}, config.json asks for {shape}; "
                    "the two belong to different models"
                )
            if not theirs.dtype(name).is_floating_point:
                kind = str(theirs.dtype(name)).removeprefix("torch.")
                raise ValueError(
                    f"{theirs.place}: {name} is of type {kind}, which no weights are; take the model as it was "
                    "before it was quantised"
                )
        tied = {name for pair in self.pairs if pair.ours not in wanted for name in pair.theirs}
        for name in shapes:
            if name not in expected and name not in tied and not self._is_ignored(name):
                raise ValueError(f"{theirs.place}: holds {name}, which rootlm has no place for")
        made = {pair.ours for pair in self.pairs}
        assert set(wanted) <= made, sorted(set(wanted) - made)[0]

    def _is_ignored(self, name: str) -> bool:
        return any(pattern.search(name) for pattern in self._ignored)


def _written_out(rule: Rule, counts: Mapping[str, int]) -> Iterator[Rule]:
    """Yield a rule for every number that the words in braces stand for."""
    words = list(dict.fromkeys(_COUNTED.findall(rule.ours)))
    for numbers in product(*(range(counts[word]) for word in words)):
        given = dict(zip(words, numbers, strict=True))
        theirs = tuple(name.format(**given) for name in rule.theirs)
        yield Rule(rule.ours.format(**given), theirs, rule.heights, rule.change)


def _reader(
    rule: Rule, theirs: Tensors, like: tuple[tuple[int, ...], torch.dtype, torch.device]
) -> Callable[[], Tensor]:
    """Return what lays their tensors into one of ours, of that shape and type and there."""
    shape, dtype, device = like

    def make() -> Tensor:
        first = rule.theirs[0]
        alone = len(rule.theirs) == 1 and rule.change is None
        if alone and theirs.dtype(first) == dtype and device.type == "cpu":
            return theirs.read(first)
        made = torch.empty(shape, dtype=dtype, device=device)
        for name, part in zip(rule.theirs, _parts(made, rule), strict=True):
            given = theirs.read(name)
            part.copy_(given if rule.change is None else rule.change.read(given))
            theirs.let_go(name)
        return made

    return make


def _parts(ours: Tensor, rule: Rule) -> Sequence[Tensor]:
    return torch.split(ours, list(rule.heights)) if rule.heights else (ours,)


def _outgoing(rule: Rule, ours: Tensor) -> Iterator[Outgoing]:
    for name, part in zip(rule.theirs, _parts(ours, rule), strict=True):
        changed = part.to("meta") if rule.change is None else rule.change.write(part.to("meta"))
        yield Outgoing(name, tuple(changed.shape), part.dtype, _maker(rule.change, part))


def _maker(change: Change | None, part: Tensor) -> Callable[[], Tensor]:
    return lambda: part if change is None else change.write(part)


def _widest(types: Sequence[torch.dtype]) -> torch.dtype:
    kind = types[0]
    for other in types[1:]:
        kind = torch.promote_types(kind, other)
    return kind
