"""Pairs of texts, the second written anew from the first and held against the one that people wrote."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rootlm.evaluation.overlap import Overlap, overlap
from rootlm.generation.sampling import Sampling
from rootlm.generation.texts import Writer
from rootlm.text.document import Document
from rootlm.text.raw.parallel import Names, sides_of


@dataclass(frozen=True)
class Translated:
    """What was written for each source, beside its reference."""

    way: Names
    sources: Sequence[str]
    texts: Sequence[str]
    references: Sequence[str]
    cut: int
    """Answers that did not come to an end."""
    seconds: float

    def overlap(self) -> Overlap:
        """Return what the texts have in common with the references."""
        return overlap(self.texts, self.references, self.way[1])

    def to_plain(self, seed: int = 0) -> dict[str, Any]:
        """Return every figure as JSON-ready data."""
        found = self.overlap()
        figures = {"bleu": asdict(found.bleu(seed)), "chrf": asdict(found.chrf(seed))}
        return {
            "direction": list(self.way),
            **figures,
            "pairs": len(self.texts),
            "cut": self.cut,
            "seconds": round(self.seconds, 3),
        }


def translate(writer: Writer, pairs: Iterable[Document], way: Names, sampling: Sampling) -> Translated:
    """Write the second side of each pair from the first; raises ValueError where a document is no such pair."""
    sides: list[Mapping[str, str]] = [sides_of(document) for document in pairs]
    if not sides:
        raise ValueError("there is no pair to translate; name a corpus of pairs with --data PATH")
    known = list(sides[0])
    if set(way) != set(known):
        raise ValueError(
            f"the pairs are of {' and '.join(known)}, not of {' and '.join(way)}; name other data"
        )
    started = time.perf_counter()
    sources = [side[way[0]] for side in sides]
    answers = [several[0] for several in writer.answer(sources, sampling)]
    seconds = time.perf_counter() - started
    texts = [answer.text for answer in answers]
    cut = sum(answer.finish_reason != "stop" for answer in answers)
    return Translated(way, sources, texts, [side[way[1]] for side in sides], cut, seconds)
