"""Text as words apart, a sentence or a document a line: what classical models and linguists read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import orjson

from rootlm.core.config import Config
from rootlm.core.files import MANIFEST, explain
from rootlm.text.corpus import FORMAT, Corpus
from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.read import read
from rootlm.text.shards import packed_writer
from rootlm.text.sources import Source, find
from rootlm.text.words.lemmas import lemmatizer
from rootlm.text.words.part_of_speech import PartOfSpeech
from rootlm.text.words.segment import Segment
from rootlm.text.words.sentences import Sentences
from rootlm.text.words.stop_words import StopWords

_LEVEL = 3


class WordWriting(Config):
    """What is written of each document."""

    segment: bool = True
    """Cut text into words; false leaves the text of a line as it is."""
    dictionary: str | None = None
    """A file of words that stay whole, a line each: WORD [FREQUENCY] [TAG], as jieba has it."""
    sentences: bool = False
    """Write each sentence on a line of its own; false: each document."""
    line_ends: Literal["end", "blank"] = "end"
    """Whether a line end ends a sentence unless a comma stands before it, or only a blank line does."""
    part_of_speech: bool = False
    """Write word/TAG."""
    tagset: Literal["native", "universal"] = "native"
    """Tags of jieba for Chinese and of the Penn Treebank for English, or universal ones for both."""
    lemmas: bool = False
    """Write the lemma of each English word in its place; JSON lines keep both."""
    stop_words: bool = False
    """Leave stop words out, Chinese and English ones."""
    add_stop_words: tuple[str, ...] = ()
    """Files with further stop words, one a line."""
    keep_words: tuple[str, ...] = ()
    """Words of the lists that are kept all the same: [不, not]."""
    punctuation: bool = True
    """Keep the marks."""
    lower: bool = False
    """Write letters small."""
    split: str = "train"
    """The split that is written where a corpus is given."""
    read: Reading = Reading()
    """How files become documents."""

    def build(self, faults: Faults) -> LineMaker:
        """Return what turns a text into lines; raises ValueError for settings that need words uncut."""
        split = Sentences(line_ends=self.line_ends).build().sentences if self.sentences else _whole
        if not self.segment:
            self._refuse_without_words()
            return LineMaker(split, lambda text: [Word(text)] if text else [], Kept(lower=self.lower))
        segmenter = Segment(dictionary=self.dictionary).build(faults)
        kept = Kept(
            self._stop_list(faults),
            self.punctuation,
            self.lower,
            lemmatizer() if self.lemmas else None,
        )
        if not self.part_of_speech:
            return LineMaker(
                split, lambda text: list(map(Word, segmenter.words(text))), kept, segmenter.taught
            )
        tagger = PartOfSpeech(tagset=self.tagset).build(segmenter)
        return LineMaker(
            split, lambda text: [Word(*tagged) for tagged in tagger.tag(text)], kept, segmenter.taught
        )

    def _stop_list(self, faults: Faults) -> Container[str]:
        if not (self.stop_words or self.add_stop_words):
            return ()
        shipped = StopWords().languages if self.stop_words else ()
        return StopWords(languages=shipped, add=self.add_stop_words, keep=self.keep_words).build(faults)

    def _refuse_without_words(self) -> None:
        needing = [name for name in ("part_of_speech", "stop_words", "lemmas") if getattr(self, name)]
        needing += [name for name in ("dictionary", "add_stop_words") if getattr(self, name)]
        if needing or not self.punctuation:
            raise ValueError(f"{', '.join(needing) or 'punctuation=false'} needs words; leave segment=true")


class Word(NamedTuple):
    """A word, its part of speech and its lemma, where they are asked for."""

    text: str
    tag: str = ""
    lemma: str = ""


@dataclass(frozen=True)
class Kept:
    """Which words are kept, and how they are written."""

    stop_words: Container[str] = ()
    punctuation: bool = True
    lower: bool = False
    lemma: Callable[[str], str] | None = None

    def __call__(self, words: Iterable[Word]) -> list[Word]:
        """Return what is kept of a line; a stop word is told by its form and by its lemma."""
        kept = []
        for word in words:
            lemma = self.lemma(word.text) if self.lemma else ""
            if word.text in self.stop_words or (lemma and lemma in self.stop_words):
                continue
            if not self.punctuation and not any(map(str.isalnum, word.text)):
                continue
            text = word.text.lower() if self.lower else word.text
            kept.append(Word(text, word.tag, lemma.lower() if self.lower else lemma))
        return kept


@dataclass(frozen=True)
class LineMaker:
    """Turns documents into lines of words."""

    split: Callable[[str], list[str]]
    cut: Callable[[str], list[Word]]
    keep: Kept
    taught: int = 0
    """Words of the dictionary of one's own that stay whole."""

    def lines(self, text: str) -> Iterator[list[Word]]:
        """Yield the words of each line; what keeps no word is left out."""
        for part in self.split(text):
            if words := self.keep(self.cut(part)):
                yield words


class Written(NamedTuple):
    """What was written."""

    documents: int
    lines: int
    words: int
    taught: int
    """Words of the dictionary that stay whole."""


def write(settings: WordWriting, paths: Iterable[str], out: Path, faults: Faults, overwrite: bool) -> Written:
    """Write the words of files and corpora; `out` is whole or absent, and JSON lines if it is called so.

    Raises ValueError for bad input, naming place and remedy.
    """
    if out.exists() and not overwrite:
        raise ValueError(f"{out}: exists; set overwrite=true to replace it, or choose another file for out")
    paths = list(paths)
    if not paths:
        raise ValueError("no text given; name files, folders or corpora")
    maker = settings.build(faults)
    shape = _record if ".jsonl" in out.suffixes else _plain
    documents = lines = words = 0
    with _stream(out) as stream:
        for document in _documents(settings, paths, out, faults):
            documents += 1
            for number, line in enumerate(maker.lines(document.text)):
                lines += 1
                words += len(line)
                stream.write(shape(document, number, line))
        if not lines:
            raise ValueError(f"{paths[0]}: no word is left to write; the text is blank or all is left out")
    return Written(documents, lines, words, maker.taught)


def _documents(settings: WordWriting, paths: Iterable[str], out: Path, faults: Faults) -> Iterator[Document]:
    for path in paths:
        if _is_corpus(Path(path)):
            faults.notice(f"{path}: a corpus; its split {settings.split} is read")
            yield from Corpus.open(Path(path)).documents(settings.split)
            continue
        for origin in find([Source(path=path)], out, faults.notice):
            for file in origin.files:
                if file.absolute() == out.absolute():  # what an earlier run has written
                    continue
                yield from read(file, settings.read, faults)


def _is_corpus(path: Path) -> bool:
    """Say whether a path is a corpus; other folders have a manifest too."""
    manifest = path / MANIFEST
    return manifest.is_file() and FORMAT.encode() in manifest.read_bytes()


def _whole(text: str) -> list[str]:
    return [" ".join(text.split())]


def _plain(_: Document, __: int, words: list[Word]) -> bytes:
    """Return words apart, as word/TAG where they have tags; the lemma stands in a word's place."""
    texts = (word.lemma or word.text for word in words)
    tagged = (f"{text}/{word.tag}" if word.tag else text for text, word in zip(texts, words, strict=True))
    return " ".join(tagged).encode() + b"\n"


def _record(document: Document, number: int, words: list[Word]) -> bytes:
    record: dict[str, object] = {"source": document.source, "line": number}
    record["words"] = [word.text for word in words]
    if words[0].tag:
        record["tags"] = [word.tag for word in words]
    if words[0].lemma:
        record["lemmas"] = [word.lemma for word in words]
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


@contextlib.contextmanager
def _stream(out: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name only when all was written; `.zst` packs it."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stream = packed_writer(partial, _LEVEL) if out.suffix == ".zst" else partial.open("wb")
        with stream:
            yield stream
        partial.replace(out)
    except OSError as error:
        raise explain(error, out) from error
    finally:
        partial.unlink(missing_ok=True)
