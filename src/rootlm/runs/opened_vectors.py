"""A finished run of word vectors, opened."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from rootlm.core.files import read_json
from rootlm.models.vector_files import open_vectors
from rootlm.models.vector_queries import Queries
from rootlm.models.word_vectors import CONFIG, WordVectors, is_config


@dataclass(frozen=True)
class VectorsRun:
    """Word vectors, and the settings they were made with."""

    folder: Path
    vectors: WordVectors

    @property
    def settings(self) -> Mapping[str, Any]:
        """What they were trained with."""
        return self.vectors.settings

    @cached_property
    def queries(self) -> Queries:
        """What answers questions: neighbours, analogies, likeness, the odd one out."""
        return Queries(self.vectors)

    def __getattr__(self, name: str) -> Any:
        """Say that what other runs do cannot be asked of this one."""
        if name.startswith("_"):
            raise AttributeError(name)
        refuse(self.folder, name)


def is_vectors(folder: Path) -> bool:
    """Tell whether a folder is a run of word vectors."""
    return (folder / CONFIG).is_file() and is_config(read_json(folder / CONFIG))


def open_vectors_run(folder: Path) -> VectorsRun:
    """Open a run of word vectors; raises ValueError naming the file that is missing or torn."""
    return VectorsRun(folder, WordVectors.load(folder))


def vectors_of(name: str) -> WordVectors:
    """Open a run of word vectors, a file of them, or the embedding of a model's run; says what was odd about a file."""
    path = Path(name)
    if (path / CONFIG).is_file() and not is_vectors(path):
        from rootlm.runs.opened import load

        return load(path, device="cpu", precision="float32").vectors
    found = open_vectors(path)
    for odd in found.notes:
        note(f"{path}: {odd}")
    return found.vectors


def note(text: str) -> None:
    """Say what is odd without disturbing what a verb prints."""
    print(f"note: {text}", file=sys.stderr)


def refuse(folder: Path, name: str) -> NoReturn:
    """Raise ValueError that says what word vectors are for."""
    raise ValueError(
        f"{folder}: holds word vectors, which have no {name}: ask .vectors and .queries, or rootlm vectors; "
        "name the run of a language model for text"
    )
