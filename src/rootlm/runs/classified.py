"""A classifier asked about lines: their labels, and how good those are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rootlm.core.mistakes import nearest
from rootlm.models.text_classifier import Guess, Judged, TextClassifier, judge

LABEL = "__label__"
"""What a word that is a label begins with."""
_AT_ONCE = 4096


def classified(
    classifier: TextClassifier, texts: str | Sequence[str], k: int, threshold: float
) -> Iterator[list[Guess]]:
    """Yield the guesses for texts, or for the lines of a file."""
    lines = (line for _, line in _lines(Path(texts))) if isinstance(texts, str) else iter(texts)
    while some := [line for _, line in zip(range(_AT_ONCE), lines, strict=False)]:
        yield from classifier.predict(some, k, threshold)


def tested(classifier: TextClassifier, file: str, k: int, threshold: float) -> Judged:
    """Return precision and recall on a file of labelled lines; raises ValueError for a label that is unknown."""
    examples = list(_examples(classifier, Path(file)))
    if not examples:
        raise ValueError(f"{file}: no line holds a label; begin each with one, as {LABEL}good")
    return judge(classifier, examples, k, threshold)


def _examples(classifier: TextClassifier, file: Path) -> Iterable[tuple[str, list[str]]]:
    known = set(classifier.labels)
    for number, line in _lines(file):
        words = line.split()
        labels = [word for word in words if word.startswith(LABEL)]
        for label in labels:
            if label not in known:
                raise ValueError(
                    f"{file}:{number}: {label} was not seen in training; {nearest(label, known)}"
                )
        if labels:
            yield " ".join(word for word in words if not word.startswith(LABEL)), labels


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open(encoding="utf-8", errors="backslashreplace") as stream:
            yield from enumerate(map(str.rstrip, stream), 1)
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from error
