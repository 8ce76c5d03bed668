"""Two openings of one model, held against each other: ids of a hundred texts and the logits on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rootlm.runs.parity_texts import TEXTS, TURNS, Turns
from rootlm.runs.sides import APART, IdSide, OwnSide, Side, apart, open_side

TOLERANCE = 1e-3
"""By how much logits in float32 may differ, for each unit of their standard deviation (1 at least)."""


@dataclass(frozen=True)
class Verified:
    """What was compared, and how much it differed."""

    first: str
    second: str
    """Who opened each of the two."""
    texts: int
    largest: float
    """The largest difference of two logits."""
    deviation: float
    """The standard deviation of the logits."""
    where: str
    """The text with the largest difference."""
    unlike: tuple[str, ...]
    """What went wrong other than that, a sentence each."""
    tolerance: float = TOLERANCE

    @property
    def allowed(self) -> float:
        """The largest difference that is allowed."""
        return self.tolerance * max(1.0, self.deviation)

    @property
    def agrees(self) -> bool:
        """Whether the two are one model."""
        return not self.unlike and self.largest <= self.allowed

    @property
    def sentence(self) -> str:
        """What a person wants to know."""
        if self.unlike:
            more = f" (and {len(self.unlike) - 1} more)" if len(self.unlike) > 1 else ""
            return f"{self.unlike[0]}{more}"
        said = "differ by at most" if self.agrees else "differ by"
        return (
            f"ids of {self.texts} texts are the same; logits {said} {self.largest:.1e}, {self.allowed:.1e} is allowed "
            f"(their standard deviation is {self.deviation:.2f}; {self.first} beside {self.second})"
        )


def compare(first: Side, second: Side, *, prompts: bool = False, tolerance: float = TOLERANCE) -> Verified:
    """Compare ids and logits of a hundred texts, and of conversations where there is a chat template.

    With `prompts` what is read when a person gives a text must be the same too: the begin mark. Of an encoder–decoder
    that is always compared: the marks of a source, and how an answer begins.
    """
    read, unlike = compare_ids(first, second, prompts=prompts)
    if unlike:
        opened = (first.opened_by, second.opened_by)
        return Verified(*opened, len(read), math.nan, math.nan, "", tuple(unlike), tolerance)
    return _logits(first, second, read, tolerance)


def compare_ids(
    first: IdSide, second: IdSide, *, prompts: bool = False
) -> tuple[list[tuple[str, list[int]]], list[str]]:
    """Return every text with its ids, as the first reads it, and what the second reads otherwise."""
    unlike: list[str] = []
    read: list[tuple[str, list[int]]] = []
    for text in TEXTS:
        one, other = first.ids(text), second.ids(text)
        _note(unlike, f"ids of {text!r}", one, other)
        if prompts or APART in first.prompt_ids(text):
            _note(unlike, f"ids of the prompt {text!r}", first.prompt_ids(text), second.prompt_ids(text))
        read.append((text, first.prompt_ids(text)))
    for number, turns in enumerate(TURNS, 1):
        said = _conversation(first, second, turns, f"conversation {number}", unlike)
        if said is not None:
            read.append(said)
    return read, unlike


def _conversation(
    first: IdSide, second: IdSide, turns: Turns, name: str, unlike: list[str]
) -> tuple[str, list[int]] | None:
    """Return a conversation's text and ids; None where there is no template or it refuses these turns."""
    found = []
    for side in (first, second):
        try:
            found.append(side.turns(turns))
        except ValueError:
            found.append(None)
    one, other = found
    if one is None or other is None:
        if one is not other:
            unlike.append(f"{name}: {(first if one is None else second).opened_by} has no text for it")
        return None
    if one[0] != other[0]:
        unlike.append(f"{name}: its texts differ: {one[0]!r} beside {other[0]!r}")
    _note(unlike, f"ids of {name}", one[1], other[1])
    return one


def _note(unlike: list[str], what: str, one: Sequence[int], other: Sequence[int]) -> None:
    if list(one) != list(other):
        place = next(
            (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
        )
        shown = [list(ids[place : place + 4]) for ids in (one, other)]
        unlike.append(f"{what} differ from place {place} on: {shown[0]} beside {shown[1]}")


def _logits(first: Side, second: Side, read: Sequence[tuple[str, list[int]]], tolerance: float) -> Verified:
    contexts = [side.context for side in (first, second) if side.context is not None]
    longest = min(contexts, default=None)
    largest, where, unlike = 0.0, "", list[str]()
    count, total, squares = 0, 0.0, 0.0
    for text, ids in read:
        kept = _shortened(ids, longest)
        if not kept:
            continue  # a template that writes nothing
        one, other = first.logits(kept), second.logits(kept)
        if one.shape != other.shape:
            unlike.append(f"logits are {tuple(one.shape)} beside {tuple(other.shape)}")
            break
        difference = float((one - other).abs().max())
        if not difference <= largest:
            largest, where = difference, text
        wide = one.double()
        count, total = count + wide.numel(), total + float(wide.sum())
        squares += float(wide.square().sum())
    deviation = math.sqrt(max(0.0, squares / count - (total / count) ** 2)) if count else math.nan
    if math.isnan(largest) or math.isnan(deviation):
        unlike.append(f"logits of {where!r} are no numbers")
    opened = (first.opened_by, second.opened_by)
    return Verified(*opened, len(read), largest, deviation, where, tuple(unlike), tolerance)


def _shortened(ids: Sequence[int], longest: int | None) -> list[int]:
    """Return ids that a context can hold; a source and an answer each for itself."""
    if APART not in ids:
        return list(ids[:longest])
    source, target = apart(ids)
    return [*source[:longest], APART, *target[:longest]]


def verify(first: Path, second: Path, *, foreign: bool = True, tolerance: float = TOLERANCE) -> Verified:
    """Compare two runs or folders; raises ValueError for a folder that cannot be opened.

    The first is opened by rootlm's own reader, the second, where it is Hugging Face's and `foreign` is wanted, by
    `transformers`.
    """
    return compare(OwnSide(first), open_side(second, foreign=foreign), tolerance=tolerance)
