"""How well a run does on what it has read, and on what it has not: every text side by side, with the gap between."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rootlm.evaluation.figures import Evaluation
from rootlm.evaluation.heldout import heldout
from rootlm.evaluation.intervals import Interval, apart
from rootlm.runs.run import Run
from rootlm.text.corpus import Corpus
from rootlm.text.document import SPLITS, Document

OUT_OF_DOMAIN = "out of domain"
SEEN = SPLITS[0]
_SEEN_BYTES = 1_000_000


@dataclass(frozen=True)
class Judged:
    """A run's figures on one text, and by how many bits per byte it is worse there than on what it has read."""

    name: str
    evaluation: Evaluation
    bits: Interval
    gap: Interval | None

    def to_plain(self) -> dict[str, Any]:
        """Return the figures as JSON-ready data."""
        gap = None if self.gap is None else asdict(self.gap)
        sizes = {"documents": len(self.evaluation.bytes), "bytes": int(self.evaluation.bytes.sum())}
        return {"text": self.name, **sizes, "bits_per_byte": asdict(self.bits), "gap": gap}


def judge(run: Run, texts: Mapping[str, Iterable[Document]], seed: int = 0) -> list[Judged]:
    """Score each text; the gap is to the training text where that is among them."""
    found = {name: run.evaluate(documents) for name, documents in texts.items()}
    seen = found.get(SEEN)
    return [
        Judged(
            name,
            one,
            one.bits_per_byte(seed),
            None
            if seen is None or name == SEEN
            else apart((one.bits, one.bytes), (seen.bits, seen.bytes), seed=seed),
        )
        for name, one in found.items()
    ]


def texts_of(
    corpora: Sequence[Corpus],
    splits: Sequence[str] = SPLITS,
    out_of_domain: str | None = None,
    *,
    most_bytes: int | None = None,
    seed: int = 0,
) -> dict[str, Iterable[Document]]:
    """Return the documents of each split that some corpus has, and of a text from elsewhere.

    At most about `most_bytes` of each, drawn once; None takes all, but of the training text no more than of the
    longest other.
    """
    texts: dict[str, Iterable[Document]] = {}
    for split in splits:
        holding = [corpus for corpus in corpora if split in corpus.splits and corpus.counts(split).documents]
        if not holding:
            continue
        most = most_bytes
        if most is None and split == SEEN:
            others = (_bytes(corpora, other) for other in splits if other != SEEN)
            most = max(others, default=0) or _SEEN_BYTES
        texts[split] = [one for corpus in holding for one in _some(corpus, split, holding, most, seed)]
    if out_of_domain is not None:
        texts[OUT_OF_DOMAIN] = _first(heldout(Path(out_of_domain)), most_bytes)
    return texts


def _bytes(corpora: Sequence[Corpus], split: str) -> int:
    return sum(corpus.counts(split).bytes for corpus in corpora if split in corpus.splits)


def _some(
    corpus: Corpus, split: str, holding: Sequence[Corpus], most: int | None, seed: int
) -> Iterable[Document]:
    """Return a corpus's share of what is drawn of a split."""
    whole = _bytes(holding, split)
    if most is None or whole <= most:
        return corpus.documents(split)
    return corpus.sample(split, math.ceil(corpus.counts(split).documents * most / whole), seed)


def _first(documents: Iterator[Document], most: int | None) -> Iterator[Document]:
    """Yield whole documents until so many bytes are reached."""
    held = 0
    for document in documents:
        yield document
        held += len(document.text.encode())
        if most is not None and held >= most:
            return
