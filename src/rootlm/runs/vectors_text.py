"""The text that word vectors learn from, in pieces: files of words apart as they are, corpora cut into words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from rootlm.core.config import Config
from rootlm.text.corpus import Corpus
from rootlm.text.pipeline.pool import Local
from rootlm.text.raw.faults import Faults
from rootlm.text.words.word_writing import LineMaker, WordWriting
from rootlm.tokenizers.counted_words import pieces_of
from rootlm.tokenizers.phrases import Phrases

_BATCH_CHARACTERS = 1 << 20
_PACKED = (".gz", ".zst", ".bz2", ".xz", ".zip", ".jsonl", ".json", ".parquet")


class VectorsText(Config):
    """How words are read."""

    lower: bool = False
    """Write letters small."""
    punctuation: bool = False
    """Keep the marks of a corpus; in a file of words apart they are words as they stand."""
    stop_words: bool = False
    """Leave stop words of a corpus out, Chinese and English ones."""
    dictionary: str | None = None
    """A file of words that a corpus is not cut within, a line each: WORD [FREQUENCY] [TAG], as jieba has it."""
    phrases: Phrases = Phrases()
    """Join words that stand together more often than chance, as new_york."""
    split: str = "train"
    """The split of a corpus that is read."""


def pieces(paths: Sequence[str], settings: VectorsText, workers: int) -> Iterator[bytes]:
    """Yield the words of files and corpora, spaces between them, a sentence a line, in pieces of some megabytes.

    Raises ValueError for a path that is neither, naming the remedy.
    """
    if not paths:
        raise ValueError("no text given; name a file of words apart, or a corpus")
    for path in map(Path, paths):
        if path.is_dir():
            yield from _of_corpus(path, settings, workers)
        elif path.suffix in _PACKED:
            raise ValueError(
                f"{path}: is read as words apart, a sentence a line; "
                f"write them first with rootlm data words {path} out=words.txt sentences=true"
            )
        else:
            yield from (_lower(piece) if settings.lower else piece for piece in pieces_of(path))


def _lower(piece: bytes) -> bytes:
    return piece.decode(errors="surrogateescape").lower().encode(errors="surrogateescape")


def _of_corpus(folder: Path, settings: VectorsText, workers: int) -> Iterator[bytes]:
    documents = Corpus.open(folder).documents(settings.split)
    tasks = ((settings, batch) for batch in _batches(document.text for document in documents))
    with Local(workers) as pool:
        yield from pool.run(_cut, tasks)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _cut(task: tuple[VectorsText, list[str]]) -> bytes:
    settings, texts = task
    maker = _maker(settings)
    lines = (line for text in texts for line in maker.lines(text))
    # A word may hold a space; here it ends a word.
    return b"".join(" ".join(word.text.replace(" ", "_") for word in line).encode() + b"\n" for line in lines)


@cache
def _maker(settings: VectorsText) -> LineMaker:
    writing = WordWriting(
        sentences=True,
        lower=settings.lower,
        punctuation=settings.punctuation,
        stop_words=settings.stop_words,
        dictionary=settings.dictionary,
    )
    return writing.build(Faults("stop"))
