"""What a kind of reading must offer: what is learned from, and what is held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rootlm.data.windows import Feed
from rootlm.runs.recipe import Recipe
from rootlm.text.corpus import Corpus

if TYPE_CHECKING:
    from rootlm.runs.material import Material


class Look(Protocol):
    """What one look at held-out text reads, step by step."""

    @property
    def steps(self) -> int: ...
    def step(self, number: int, rank: int = 0, workers: int = 1) -> Any: ...


class HeldOut(Protocol):
    """Held-out text, drawn once."""

    def look(self, workers: int) -> tuple[Look, int | None]:
        """Return what to read, and how many rows of it read on from step to step, if they do."""
        ...

    def on_scale(self, found: Mapping[str, float]) -> dict[str, float]:
        """Return what a look has found, with bits per byte where they follow from it."""
        ...


class Reader(Protocol):
    """Makes what an objective reads."""

    @property
    def shapes_stay(self) -> bool:
        """Whether every step has rows of one length, so that compiled parts are made for it once."""
        ...

    def build(self, material: Material, recipe: Recipe, corpus: Corpus, split: str) -> None:
        """Make what is kept beside a corpus for all runs with this tokenizer."""
        ...

    def feed(self, material: Material, recipe: Recipe, window: int) -> Feed:
        """Return what the training steps read."""
        ...

    def held_out(self, material: Material, recipe: Recipe, split: str, window: int) -> HeldOut:
        """Return part of a split for validation, drawn once."""
        ...

    def remark(self, material: Material, recipe: Recipe, window: int) -> str | None:
        """Return what a person must know of what is read."""
        ...


def draw(sizes: Sequence[int], recipe: Recipe) -> list[int]:
    """Return what is drawn, once, of things of these sizes, until there are `validation.tokens` in it."""
    order = np.random.default_rng([recipe.training.seed, 2]).permutation(len(sizes))
    before = np.cumsum(np.array(sizes)[order]) - np.array(sizes)[order]
    return [int(index) for index in order[before < recipe.validation.tokens]]
