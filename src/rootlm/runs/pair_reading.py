"""Reading sources and their targets."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rootlm.data.pairs import PairFeed, Sides
from rootlm.data.subword_dropout import SubwordDropout
from rootlm.data.windows import Feed, Ids
from rootlm.objectives.sequence_to_sequence import SequenceToSequenceConfig
from rootlm.runs.reader import HeldOut, draw
from rootlm.runs.recipe import Recipe
from rootlm.text.corpus import Corpus
from rootlm.text.raw.parallel import Names, names_of

if TYPE_CHECKING:
    from rootlm.runs.material import Material


class ReadsPairs:
    """Sources and targets, in batches of like length."""

    shapes_stay = False

    def build(self, material: Material, recipe: Recipe, corpus: Corpus, split: str) -> None:
        source, target = ways(recipe, corpus)[0]
        material.store(corpus, split, source, is_source=True)
        material.store(corpus, split, target)
        if recipe.objective.needs_links and split == "train":
            material.links(corpus, split, *ways(recipe, corpus)[0])

    def feed(self, material: Material, recipe: Recipe, window: int) -> Feed:
        """Return batches of at most `batch_tokens` places."""
        training = recipe.training
        if training.carry:
            raise ValueError("training.carry reads on from row to row, and pairs do not; set it to false")
        dropout = _dropout(material, recipe)
        kinds = [sides._replace(dropout=dropout) for sides, _ in self._kinds(material, recipe, "train")]
        tokens = training.batch_tokens
        if training.optimizer.kind == "gradient_descent":
            tokens = 2**62
        return PairFeed(kinds, tokens, training.seed)

    def held_out(self, material: Material, recipe: Recipe, split: str, window: int) -> HeldOut:
        """Return whole pairs of about `validation.tokens` tokens, both sides counted, in each direction."""
        kinds = []
        for sides, _ in self._kinds(material, recipe, split):
            sizes = np.add(*sides.sizes())
            kinds.append(sides.only(np.array(draw(sizes.tolist(), recipe), np.int64)))
        return HeldOutPairs(kinds, recipe.training.batch_tokens)

    def remark(self, material: Material, recipe: Recipe, window: int) -> str | None:
        left_out = sum(count for _, count in self._kinds(material, recipe, "train"))
        return f"{left_out:,} pairs are longer than the model's context; left out" if left_out else None

    def _kinds(self, material: Material, recipe: Recipe, split: str) -> list[tuple[Sides, int]]:
        """Return the pairs of a split in each direction asked for, and how many were too long for it."""
        if len(material.corpora) != 1:
            raise ValueError(
                "corpus: pairs are read from one corpus; prepare several as one, with several sources"
            )
        (corpus,) = material.corpora
        return [
            _short_enough(
                _sides(material, recipe, corpus, (split, one, other)),
                recipe,
                f"{corpus.folder}, {split}",
            )
            for one, other in ways(recipe, corpus)
        ]


@dataclass(frozen=True)
class HeldOutPairs:
    """Pairs for validation."""

    kinds: list[Sides]
    batch_tokens: int

    def look(self, workers: int) -> tuple[PairFeed, int | None]:
        """Return the pairs, in order of length."""
        return PairFeed(self.kinds, self.batch_tokens, None), None

    def on_scale(self, found: Mapping[str, float]) -> dict[str, float]:
        """Return what was found: a source tells part of its target, so there are no bits for its bytes alone."""
        return dict(found)


def _names(corpus: Corpus) -> Names:
    for split in corpus.splits:
        for document in itertools.islice(corpus.documents(split), 1):
            return names_of(document)
    raise ValueError(f"{corpus.folder}: holds no document; prepare it again with more text")


def ways(recipe: Recipe, corpus: Corpus) -> list[Names]:
    """Return from which side to which the pairs of a corpus are read.

    Raises ValueError for sides that the corpus does not have, and where no text is a source alone.
    """
    asked = recipe.objective
    if recipe.source_tokenizer is not None and getattr(asked, "both_ways", True):
        raise ValueError(
            "source_tokenizer: needs texts that are read and never written; set objective.kind=sequence_to_sequence "
            "with both_ways=false, or leave source_tokenizer out"
        )
    assert isinstance(asked, SequenceToSequenceConfig)
    names = _names(corpus)
    source, target = asked.direction or names
    if {source, target} != set(names):
        raise ValueError(
            f"{corpus.folder}: holds pairs of {names[0]} and {names[1]}, not of {source} and {target}; "
            f"set objective.direction=[{names[0]},{names[1]}]"
        )
    return [(source, target), (target, source)] if asked.both_ways else [(source, target)]


def _sides(material: Material, recipe: Recipe, corpus: Corpus, where: tuple[str, str, str]) -> Sides:
    """Return the pairs of a split, from one side to the other; those to learn from with the links of their words."""
    split, one, other = where
    linked = recipe.objective.needs_links and split == "train"
    return Sides(
        material.store(corpus, split, one, is_source=True),
        material.store(corpus, split, other),
        material.source_marks,
        material.marks,
        material.links(corpus, split, one, other) if linked else None,
    )


def _dropout(material: Material, recipe: Recipe) -> tuple[SubwordDropout, SubwordDropout] | None:
    """Return what takes tokens of sources and of targets apart; raises ValueError where none was merged."""
    asked = recipe.objective
    assert isinstance(asked, SequenceToSequenceConfig)
    if not asked.subword_dropout:
        return None
    found = [tokenizer.merged_from for tokenizer in (material.reader, material.tokenizer)]
    if any((parts < 0).all() for parts in found):
        raise ValueError(
            "objective.subword_dropout takes apart what merges have joined, and this tokenizer has none; "
            "set tokenizer.kind=bpe, or objective.subword_dropout=0"
        )
    reach = recipe.model.reach
    most = None if reach is None else reach - 1
    first, second = (SubwordDropout(parts, asked.subword_dropout, most) for parts in found)
    return first, second


def _short_enough(sides: Sides, recipe: Recipe, place: str) -> tuple[Sides, int]:
    reach, asked = recipe.model.reach, recipe.objective
    assert isinstance(asked, SequenceToSequenceConfig)
    if reach is None:
        return sides, 0
    sources, targets = sides.sizes()
    fits: Ids = np.flatnonzero((sources <= reach) & (targets <= reach))
    if len(fits) == len(sources):
        return sides, 0
    if asked.on_long == "stop":
        longest = int(max(sources.max(), targets.max()))
        raise ValueError(
            f"{place}: {len(sources) - len(fits):,} of {len(sources):,} pairs are longer than the model's context of "
            f"{reach} tokens, the longest has {longest:,}; set model.context={longest}, or objective.on_long=skip "
            "to leave them out"
        )
    return sides.only(fits), len(sources) - len(fits)
