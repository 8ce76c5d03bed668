"""Word vectors: a row of numbers for each word, and for unseen words where the model has subwords."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from rootlm.core.files import read_json, write_bytes, write_json
from rootlm.models.arrays_file import open_arrays, write_arrays
from rootlm.models.subwords import Subwords, averaged, rows_of

KIND = "word_vectors"
CONFIG, WEIGHTS, WORDS = "config.json", "model.safetensors", "words.json"
_LOOKED_AT = 200_000

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and their vectors, in the order of the file or of falling counts.

    >>> vectors = WordVectors(["北京", "上海"], np.eye(2, dtype=np.float32))
    >>> vectors["上海"].tolist(), "广州" in vectors, len(vectors), vectors.size
    ([0.0, 1.0], False, 2, 2)
    """

    words: Sequence[str]
    """All words, each once."""
    matrix: Floats
    """Their vectors (words, size); with subwords, those are averaged in."""
    counts: NDArray[np.int64] | None = None
    """How often each word was read (words,)."""
    subwords: Subwords | None = None
    """What gives unseen words a vector."""
    outputs: Floats | None = None
    """The other matrix of training (rows, size): a row for each word, inner node or label."""
    labels: Sequence[str] = ()
    """What a classifier may say of a text; the rows of its `outputs`."""
    label_counts: NDArray[np.int64] | None = None
    """How often each label was read (labels,)."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What they were trained with."""

    def __post_init__(self) -> None:
        """Raise ValueError for parts that do not fit each other."""
        rows = {"matrix": self.matrix, "counts": self.counts}
        if self.subwords is not None:
            rows["subwords.own"] = self.subwords.own
        for name, held in rows.items():
            if held is not None and len(held) != len(self.words):
                raise ValueError(
                    f"word vectors: {len(self.words):,} words, but {name} has {len(held):,} rows"
                )
        tables = [self.matrix, self.outputs, None if self.subwords is None else self.subwords.matrix]
        sizes = {table.shape[1] for table in tables if table is not None and len(table)}
        if len(sizes) > 1:
            raise ValueError(f"word vectors: their matrices are {sorted(sizes)} wide; they must be the same")
        if len(self.index) != len(self.words):
            twice = next(word for row, word in enumerate(self.words) if self.index[word] != row)
            raise ValueError(f"word vectors: {twice!r} occurs twice; give every word once")

    @classmethod
    def of_subwords(cls, words: Sequence[str], subwords: Subwords, **others: Any) -> Self:
        """Return the vectors of words with their n-grams averaged in; `others` are the other fields."""
        spans = rows_of(words, subwords.minimum, subwords.maximum, subwords.buckets)
        return cls(words, averaged(subwords.own, subwords.matrix, spans), subwords=subwords, **others)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """The row of every word."""
        return {word: row for row, word in enumerate(self.words)}

    @property
    def size(self) -> int:
        """Numbers in a vector."""
        return int(self.matrix.shape[1])

    def __len__(self) -> int:
        """Return how many words have a row."""
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        """Tell whether a word has a row of its own."""
        return word in self.index

    def __getitem__(self, word: str) -> Floats:
        """Return the vector of a word (size,), made of its subwords where it has no row.

        Raises ValueError naming the nearest words for one that is unknown.
        """
        found: Floats = self.vectors([word])[0]
        return found

    def vectors(self, words: Sequence[str]) -> Floats:
        """Return the vectors of words (words, size); raises ValueError as `vectors[word]` does."""
        rows = self.rows(words)
        found: Floats = np.asarray(self.matrix[rows], np.float32)
        unseen = np.flatnonzero(rows < 0)
        if len(unseen):
            missing = [words[int(place)] for place in unseen]
            parts = self.subwords
            if parts is None or not parts.maximum:
                raise ValueError(
                    f"{missing[0]!r} is not among the {len(self):,} words; {self.nearest(missing[0])}"
                )
            spans = rows_of(missing, parts.minimum, parts.maximum, parts.buckets)
            without = np.flatnonzero(np.diff(spans.starts) == 0)
            if len(without):
                raise ValueError(
                    f"{missing[without[0]]!r} is not among the words and too short for n-grams of "
                    f"{parts.minimum} characters; give a longer word"
                )
            found[unseen] = averaged(None, parts.matrix, spans)
        return found

    def rows(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Return the row of each word (words,), −1 for those that have none."""
        return np.array([self.index.get(word, -1) for word in words], np.int64)

    def knows(self, word: str) -> bool:
        """Tell whether a word has a vector, its own or one made of subwords."""
        if word in self.index:
            return True
        parts = self.subwords
        if parts is None or not parts.maximum:
            return False
        return len(rows_of([word], parts.minimum, parts.maximum, parts.buckets).rows) > 0

    def nearest(self, word: str) -> str:
        """Return a sentence on which words are spelt most like an unknown one."""
        folded = word.casefold()
        alike = (
            known
            for known in islice(self.words, _LOOKED_AT)
            if abs(len(known) - len(word)) <= 2 and (set(known.casefold()) & set(folded[:2]))
        )
        close = difflib.get_close_matches(word, islice(alike, 20_000), n=3, cutoff=0.5)
        return f"did you mean {' or '.join(close)}?" if close else "give a word of its vocabulary"

    def without_training(self) -> WordVectors:
        """Return the words and vectors alone, as most files hold them."""
        return replace(self, subwords=None, outputs=None, labels=(), label_counts=None)

    def save(self, folder: Path) -> None:
        """Write `words.json`, `model.safetensors` and `config.json`, each whole or not at all, in this order."""
        words = orjson.dumps([list(self.words), list(self.labels)])
        arrays = {
            "counts": self.counts,
            "label_counts": self.label_counts,
            "vectors": self.matrix,
            "own": None if self.subwords is None else self.subwords.own,
            "subwords": None if self.subwords is None else self.subwords.matrix,
            "outputs": self.outputs,
        }
        write_bytes(folder / WORDS, words)
        held = {name: array for name, array in arrays.items() if array is not None}
        write_arrays(folder / WEIGHTS, held, {"words": _sum(words)})
        write_json(folder / CONFIG, self._config())

    def _config(self) -> dict[str, Any]:
        parts = self.subwords
        shape = (
            {"minimum": parts.minimum, "maximum": parts.maximum, "buckets": parts.buckets} if parts else None
        )
        return {
            "model_type": "rootlm",
            "kind": KIND,
            "words": len(self),
            "size": self.size,
            "labels": len(self.labels),
            "subwords": shape,
            "settings": dict(self.settings),
        }

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open a folder that `save` wrote; the matrices stay on disk until they are read.

        Raises ValueError naming the file that is missing, torn, or belongs to another run.
        """
        config = read_json(folder / CONFIG)
        if not is_config(config):
            raise ValueError(
                f"{folder / CONFIG}: describes no word vectors; name the out folder of rootlm vectors"
            )
        words, labels = read_json(folder / WORDS)
        arrays, about = open_arrays(folder / WEIGHTS)
        if about.get("words") != _sum((folder / WORDS).read_bytes()):
            raise ValueError(
                f"{folder / WORDS}: is not the one that {WEIGHTS} was written with; copy both again"
            )
        shape = config["subwords"]
        try:
            parts = Subwords(**shape, matrix=arrays["subwords"], own=arrays["own"]) if shape else None
            return cls(
                words,
                arrays["vectors"],
                arrays.get("counts"),
                parts,
                arrays.get("outputs"),
                labels,
                arrays.get("label_counts"),
                config["settings"],
            )
        except KeyError as error:
            raise ValueError(f"{folder / WEIGHTS}: holds no {error.args[0]}; copy it again") from error


def is_config(config: object) -> bool:
    """Tell whether a folder's `config.json` is that of word vectors."""
    return isinstance(config, dict) and config.get("kind") == KIND


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
