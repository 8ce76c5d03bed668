"""Reading whole documents, one a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rootlm.data.store import Store, open_or_build
from rootlm.data.whole_texts import TextFeed, TextSource
from rootlm.data.windows import Feed, Ids
from rootlm.objectives.contrastive import ContrastiveConfig
from rootlm.objectives.regression import RegressionConfig
from rootlm.runs.reader import HeldOut, draw
from rootlm.runs.recipe import Recipe
from rootlm.text.corpus import Corpus
from rootlm.text.document import Document

if TYPE_CHECKING:
    from rootlm.runs.material import Material

_JUDGED_TEXTS = 64


class ReadsDocuments:
    """Whole documents, one a row, each with its partner or its number where the objective asks for one."""

    shapes_stay = False

    def build(self, material: Material, recipe: Recipe, corpus: Corpus, split: str) -> None:
        material.store(corpus, split)

    def remark(self, material: Material, recipe: Recipe, window: int) -> str | None:
        return None

    def feed(self, material: Material, recipe: Recipe, window: int) -> Feed:
        """Return `batch_size` documents in a step."""
        training = recipe.training
        if training.carry:
            raise ValueError(
                "training.carry reads on from row to row, and whole documents do not; set it to false"
            )
        return TextFeed(_texts(material, recipe, "train", window), training.batch_size, training.seed)

    def held_out(self, material: Material, recipe: Recipe, split: str, window: int) -> HeldOut:
        """Return whole documents of about `validation.tokens` tokens."""
        texts = _texts(material, recipe, split, window)
        sizes = (np.diff(texts.store.offsets) + 1).tolist()
        return HeldOutDocuments(texts, np.array(draw(sizes, recipe), np.int64))


@dataclass(frozen=True)
class HeldOutDocuments:
    """Documents for validation, by their numbers."""

    texts: TextSource
    chosen: Ids

    def look(self, workers: int) -> tuple[TextFeed, int | None]:
        """Return the documents, each once."""
        return TextFeed(self.texts, max(_JUDGED_TEXTS, workers), None, self.chosen), None

    def on_scale(self, found: Mapping[str, float]) -> dict[str, float]:
        """Return what was found: nothing of it is about bytes."""
        return dict(found)


def _texts(material: Material, recipe: Recipe, split: str, window: int) -> TextSource:
    """Return a split as whole documents, with what the objective asks of each; raises ValueError without."""
    if len(material.corpora) > 1:
        raise ValueError(
            f"objective.kind={recipe.objective.kind} reads one corpus and the recipe names several; "
            "prepare them as one"
        )
    corpus, objective = material.corpora[0], recipe.objective
    if isinstance(objective, ContrastiveConfig) and objective.positives == "lines":
        first, second = (_line_store(material, corpus, split, number) for number in (0, 1))
        return TextSource(first, material.marks_for(recipe), window, partners=second)
    numbers = None
    if isinstance(objective, RegressionConfig):
        numbers = np.array([_number(document, objective.key) for document in corpus.documents(split)])
    return TextSource(material.store(corpus, split), material.marks_for(recipe), window, numbers=numbers)


def _line_store(material: Material, corpus: Corpus, split: str, number: int) -> Store:
    """Return one of the two lines of every document as a store; raises ValueError for other documents."""
    name = f"{split}-line-{number}"
    folder = corpus.folder / "tokens" / material.tokenizer.fingerprint[:16] / name
    documents = (_line(document, number) for document in corpus.documents(split))
    return open_or_build(folder, documents, material.tokenizer, corpus=corpus.fingerprint, split=name)


def _line(document: Document, number: int) -> Document:
    lines = document.text.splitlines()
    if len(lines) != 2:
        raise ValueError(
            f"{document.source}: has {len(lines)} lines, and objective.positives=lines wants two that belong together; "
            "prepare a corpus of such documents"
        )
    return Document(lines[number], document.source)


def _number(document: Document, key: str) -> float:
    value = document.meta.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(
            f"{document.source}: its meta has no number {key!r}; set objective.key to one of "
            f"{', '.join(sorted(map(str, document.meta))) or 'none: the source holds text alone'}"
        )
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{document.source}: {key} is {value!r}, which is no number") from None
