"""N-grams as ARPA and word vectors as files, let out only when KenLM and gensim read what was meant."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rootlm.core.files import explain
from rootlm.core.foreign_words import refusing
from rootlm.models.arpa_reader import read_arpa
from rootlm.models.interface import Targets
from rootlm.models.ngram import Ngram
from rootlm.models.vector_files import Format, format_of, open_vectors, write_vectors
from rootlm.models.word_vectors import WordVectors
from rootlm.runs.arpa_writing import arpa_words, export_arpa
from rootlm.runs.imported import check_empty, named
from rootlm.runs.parity_texts import TEXTS
from rootlm.runs.run import Run

COST_TOLERANCE = 1e-4
"""By how much log10 of a text's probability may differ, for each of its tokens."""
VECTOR_TOLERANCE = 1e-5
"""By how much a number of a vector may differ, for each unit of the largest: text has six digits."""

_IMPOSSIBLE = -90.0


@dataclass(frozen=True)
class Read:
    """What another opening of a file said."""

    sentence: str
    agrees: bool


def export_ngrams(run: Run, out: Path) -> str:
    """Write an ARPA file and open it again; returns what a person wants to know.

    Raises ValueError for a run of another kind, for a path that is taken, and when KenLM, or our own reader where it
    is not installed, gives texts another probability; nothing is then left.
    """
    check_empty(out)
    with _proven(out) as file:
        sizes = export_arpa(run, file)
        found = _compared(run, file)
        _check(found, out)
    counted = ", ".join(f"{size:,} {order}-grams" for order, size in enumerate(sizes, 1))
    return f"{counted}; {found.sentence}"


def export_vectors(
    vectors: WordVectors, out: Path, note: Callable[[str], None], kind: Format | None = None
) -> str:
    """Write a file of vectors, of the kind that its name says unless told, and open it again; returns what was found.

    Raises ValueError for a path that is taken, and when gensim, or our own reader where gensim is not installed or
    does not read such a file, finds other words or numbers; nothing is then left.
    """
    check_empty(out)
    chosen = kind or format_of(vectors, out)
    with _proven(out) as file:
        odd = write_vectors(vectors, file, chosen)
        found = _read_again(vectors, file, chosen)
        _check(found, out)
    for said in odd:
        note(f"{out}: {said}")
    return f"{len(vectors):,} words, {vectors.size:,} numbers each; {found.sentence}"


@contextmanager
def _proven(out: Path) -> Iterator[Path]:
    """Yield a path beside `out` that takes its name when the block ends without an error."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.parent) as folder:
            file = Path(folder) / out.name
            with named(file, out):
                yield file
            file.replace(out)
    except OSError as error:
        raise explain(error, out) from error


def _check(found: Read, out: Path) -> None:
    if not found.agrees:
        raise ValueError(
            f"{out}: the export does not say what the run says, so it was removed: {found.sentence}"
        )


def _compared(run: Run, file: Path) -> Read:
    """Hold the costs of texts against those that KenLM, or our own reader, gives."""
    opened, reader = _costs_of(file)
    model, words = run.model, arpa_words(run.tokenizer)
    assert isinstance(model, Ngram)
    largest, marks = 0.0, (run.tokenizer.bos_id, run.tokenizer.eos_id)
    for text in TEXTS:
        ids = run.tokenizer.encode(text)
        own, other = _cost(model, ids, marks), opened([words[number] for number in ids])
        if math.isinf(own):
            # What is impossible is written as a very small probability.
            difference = 0.0 if other < _IMPOSSIBLE else math.inf
        else:
            difference = abs(own - other) / (len(ids) + 1)
        largest = max(largest, math.inf if math.isnan(difference) else difference)
    said = f"log10 of a token's probability differs by at most {largest:.1e}, {COST_TOLERANCE:g} is allowed"
    return Read(f"on {len(TEXTS)} texts {said} (rootlm beside {reader})", largest <= COST_TOLERANCE)


def _costs_of(file: Path) -> tuple[Callable[[Sequence[str]], float], str]:
    """Return what gives log10 of a text's probability by its words, and who that is."""
    if importlib.util.find_spec("kenlm") is not None:
        with refusing(str(file), "KenLM"):
            kenlm: Any = importlib.import_module("kenlm")
            quiet = kenlm.Config()
            quiet.show_progress, quiet.arpa_complain = False, kenlm.ARPALoadComplain.NONE
            opened = kenlm.Model(str(file), quiet)
        return lambda words: float(opened.score(" ".join(words))), "KenLM"
    model, names = read_arpa(file)
    ids = {name: number for number, name in enumerate(names)}
    marks = (ids["<s>"], ids["</s>"])
    return lambda words: _cost(
        model, [ids.get(word, ids["<unk>"]) for word in words], marks
    ), "its own reader"


@torch.inference_mode()
def _cost(model: Ngram, ids: Sequence[int], marks: tuple[int, int]) -> float:
    begin, end = marks
    asked = Targets(torch.tensor([[*ids, end]]))
    nats = model(torch.tensor([[begin, *ids]]), ask=asked).values.double().sum()
    return -float(nats) / math.log(10)


def _read_again(vectors: WordVectors, file: Path, kind: Format) -> Read:
    """Hold words and numbers against those that gensim, or our own reader, finds."""
    words, table, reader = _opened(file, kind, labels=bool(vectors.labels))
    if table.shape != vectors.matrix.shape:
        return Read(f"{reader} finds {table.shape} numbers, there are {vectors.matrix.shape}", False)
    # White space is written as something else, and has been told of.
    plain = [(one, other) for one, other in zip(vectors.words, words, strict=True) if one.split() == [one]]
    unlike = next((pair for pair in plain if pair[0] != pair[1]), None)
    if unlike is not None:
        return Read(f"{reader} reads {unlike[1]!r} for {unlike[0]!r}", False)
    largest = float(np.abs(table - vectors.matrix).max(initial=0.0))
    allowed = VECTOR_TOLERANCE * max(1.0, float(np.abs(vectors.matrix).max(initial=0.0)))
    said = f"numbers differ by at most {largest:.1e}, {allowed:.1e} is allowed (rootlm beside {reader})"
    return Read(f"the words are the same, {said}", largest <= allowed)


def _opened(file: Path, kind: Format, *, labels: bool) -> tuple[list[str], NDArray[np.float32], str]:
    """Return the words and numbers of a file, and who read them; gensim reads no classifiers."""
    if labels or importlib.util.find_spec("gensim") is None:
        found = open_vectors(file)[0]
        return list(found.words), np.asarray(found.matrix), "its own reader"
    with refusing(str(file), "gensim"):
        if kind == "fasttext":
            fasttext: Any = importlib.import_module("gensim.models.fasttext")
            opened = fasttext.load_facebook_vectors(str(file))
        else:
            vectors: Any = importlib.import_module("gensim.models").KeyedVectors
            opened = vectors.load_word2vec_format(
                str(file), binary=kind == "binary", no_header=kind == "glove"
            )
    return list(opened.index_to_key), np.asarray(opened.vectors), "gensim"
