"""Analogies by section: `Athens Greece Oslo` asks for Norway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rootlm.evaluation.intervals import Interval, ratio
from rootlm.evaluation.word_similarity import AMONG, lines_of
from rootlm.models.vector_queries import Method, Queries, Rows, questions_at_once
from rootlm.models.word_vectors import WordVectors


@dataclass(frozen=True)
class Section:
    """How many questions of a section could be asked, and which were answered rightly."""

    name: str
    right: NDArray[np.bool_]
    """Of each question whose words are all known (known,)."""
    questions: int

    @property
    def known(self) -> int:
        """Questions whose four words are all in the vocabulary."""
        return len(self.right)

    @property
    def accuracy(self) -> Interval | None:
        """The share of known questions that was answered rightly; None where none is known."""
        return ratio(self.right, np.ones(self.known)) if self.known else None


@dataclass(frozen=True)
class Analogies:
    """All sections of a file, and their sum."""

    sections: Sequence[Section]

    @property
    def total(self) -> Section:
        """All questions together."""
        right = np.concatenate([section.right for section in self.sections])
        return Section("all", right, sum(section.questions for section in self.sections))


def read_analogies(file: Path) -> dict[str, list[list[str]]]:
    """Read sections of questions: `: name` begins one, each line below it has four words; `#` begins a comment.

    Raises ValueError naming a line that is neither.
    """
    sections: dict[str, list[list[str]]] = {}
    name = file.stem
    for number, line in enumerate(lines_of(file), 1):
        if line.startswith(":"):
            name = line[1:].strip()
        elif line.strip() and not line.startswith("#"):
            words = [part.strip() for part in line.split("\t" if "\t" in line else None)]
            if len(words) != 4:
                raise ValueError(
                    f"{file}:{number}: has {len(words)} words; a question has four, such as a b c d"
                )
            sections.setdefault(name, []).append(words)
    if not sections:
        raise ValueError(f"{file}: holds no questions; write four words a line")
    return sections


def analogies(vectors: WordVectors, file: Path, *, method: Method = "add", among: int = AMONG) -> Analogies:
    """Return how many questions of a file are answered rightly, whatever the case of their words.

    The words of the question itself are no answers. Raises ValueError when no question has all words known.
    """
    asked = read_analogies(file)
    folds = _Folds(vectors, among)
    queries = Queries(vectors, among)
    sections: list[Section] = []
    for name, questions in asked.items():
        ids = np.array([[folds.ids.get(word.upper(), -1) for word in question] for question in questions])
        known = ids[(ids >= 0).all(1)]
        sections.append(Section(name, _answered(queries, folds, known, method), len(questions)))
    found = Analogies(sections)
    if not found.total.known:
        raise ValueError(
            f"{file}: none of {found.total.questions:,} questions has its four words in the vocabulary of "
            f"{len(vectors):,}, so nothing can be said; give questions in the language of the vectors"
        )
    return found


class _Folds:
    """Words that differ only in case, as one."""

    def __init__(self, vectors: WordVectors, among: int) -> None:
        self.ids: dict[str, int] = {}
        self.of_row: list[int] = []
        self.rows: list[list[int]] = []
        for row in range(min(among, len(vectors))):
            fold = self.ids.setdefault(vectors.words[row].upper(), len(self.ids))
            if fold == len(self.rows):
                self.rows.append([])
            self.rows[fold].append(row)
            self.of_row.append(fold)


def _answered(queries: Queries, folds: _Folds, ids: Rows, method: Method) -> NDArray[np.bool_]:
    right = np.zeros(len(ids), np.bool_)
    step = questions_at_once(queries.among)
    for begin in range(0, len(ids), step):
        part = ids[begin : begin + step]
        firsts = np.array([[folds.rows[fold][0] for fold in question[:3]] for question in part.tolist()])
        scores = queries.analogy_scores(queries.units[firsts], method)
        for row, question in enumerate(part.tolist()):
            scores[row, [place for fold in question[:3] for place in folds.rows[fold]]] = -np.inf
        answers = scores.argmax(1)
        right[begin : begin + step] = [
            folds.of_row[answer] == fold
            for answer, fold in zip(answers.tolist(), part[:, 3].tolist(), strict=True)
        ]
    return right


def as_rows(found: Analogies) -> list[Mapping[str, object]]:
    """Return the sections and the sum as plain data."""
    rows: list[Mapping[str, object]] = []
    for section in (*found.sections, found.total):
        sure = section.accuracy
        rows.append(
            {
                "section": section.name,
                "accuracy": None if sure is None else sure.value,
                "interval": None if sure is None else [sure.low, sure.high],
                "known": section.known,
                "questions": section.questions,
            }
        )
    return rows
