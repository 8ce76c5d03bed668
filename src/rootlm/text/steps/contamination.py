"""Contamination: documents that hold passages of a test set are dropped or labelled."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.document import Document, Label, Rule
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.read import read
from rootlm.text.sources import Source, find
from rootlm.text.steps.characters import codes

_BASIC = 0x20000
_END = 0x110000
_DENSE = 1 << 31
_DENSE_RANGES = ((0x3005, 0x3007), (0x3041, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF))
_SIEVE_BITS_PER_KEY, _MOST_SIEVE_BITS = 16, 32
LABEL = "contaminated"


class Contamination(Config):
    """Find documents that share a run of words with the given files; case, width and punctuation do not count.

    13 words are GPT-3's measure (Brown et al. 2020, appendix C). 20 Han characters say about as much: an
    English word is 1.6 of them, and in news so long a run is shared by copies and quotations only.
    """

    files: Annotated[tuple[str, ...], Field(min_length=1)]
    """Test sets: files, folders or globs of any kind that can be read."""
    read: Reading = Reading(max_document_characters=None)
    """How they are read; a document is an item of the test set."""
    text_keys: tuple[str, ...] = ()
    """Keys or columns to look for, each by itself, such as question and answer; empty: read.text_key alone."""
    words: Annotated[int, Field(gt=0)] = 13
    """Length of a run in words, for scripts with spaces."""
    han: Annotated[int, Field(gt=0)] = 20
    """Length of a run in Han characters, where most of the run is Chinese or Japanese."""
    min_words: Annotated[int, Field(gt=0)] = 8
    """Length of a run for items that have fewer words than `words`, as in GPT-3; shorter ones tell nothing."""
    min_han: Annotated[int, Field(gt=0)] = 12
    """The same in Han characters."""
    max_matches: Annotated[int, Field(ge=0)] = 0
    """Most shared runs that are let pass."""

    def build(self) -> Rule:
        """Return the rule that drops; raises ValueError when a file cannot be read."""
        index = _index(self.model_dump_json())

        def judge(document: Document) -> str | None:
            file = index.file_of(document.text, self.max_matches)
            return None if file is None else f"holds passages of {file}"

        return judge

    def label(self) -> Label:
        """Return what writes the name of the file into the meta of a document instead of dropping it."""
        index = _index(self.model_dump_json())

        def label(document: Document) -> dict[str, object]:
            file = index.file_of(document.text, self.max_matches)
            return {} if file is None else {LABEL: file}

        return label


class Index:
    """The runs of the test sets as sorted hashes, 12 bytes each with whose they are and the sieve before them."""

    def __init__(self, settings: Contamination) -> None:
        from rootlm.text.steps.gram_kernel import fill_sieve

        self._settings = settings
        self.names: list[str] = []
        self._kinds: set[tuple[int, bool]] = set()
        parts: list[NDArray[np.uint64]] = []
        owners: list[NDArray[np.uint16]] = []
        for owner, file in enumerate(_files(settings.files)):
            self.names.append(file.name)
            for text in _items(file, settings):
                grams = self._grams_of_item(text)
                parts.append(grams)
                owners.append(np.full(len(grams), owner, dtype=np.uint16))
        if not self._kinds:
            shortest = f"{settings.min_words} words or {settings.min_han} Han characters"
            raise ValueError(
                f"{', '.join(settings.files)}: no item has {shortest}; set min_words or min_han lower"
            )
        self._keys, first = np.unique(np.concatenate(parts), return_index=True)
        self._owners = np.concatenate(owners)[first]
        bits = min((_SIEVE_BITS_PER_KEY * len(self._keys)).bit_length(), _MOST_SIEVE_BITS)
        self._shift = 64 - bits
        self._sieve = np.zeros(max(1 << bits, 8) >> 3, dtype=np.uint8)
        fill_sieve(self._keys, self._sieve, self._shift)

    def __len__(self) -> int:
        return len(self._keys)

    def file_of(self, text: str, most: int) -> str | None:
        """Return the file that shares most runs with a text, when there are more than `most`."""
        from rootlm.text.steps.gram_kernel import gram_hashes, look_up

        units = _units(text)
        counts = np.zeros(len(self.names), dtype=np.int64)
        for kind in self._kinds:
            places = look_up(gram_hashes(*units, *kind), self._keys, self._sieve, self._shift)
            if len(places):
                counts += np.bincount(self._owners[places], minlength=len(counts))
        return self.names[int(counts.argmax())] if counts.max() > most else None

    def _grams_of_item(self, text: str) -> NDArray[np.uint64]:
        """Return the runs of an item, of the smaller lengths if it is short."""
        from rootlm.text.steps.gram_kernel import gram_hashes

        settings = self._settings
        hashes, dense = _units(text)
        han = int(dense.sum())
        is_han = 2 * han > len(hashes)
        is_short = len(hashes) < (settings.han if is_han else settings.words)
        sizes = (settings.min_words, settings.min_han) if is_short else (settings.words, settings.han)
        grams = {kind: gram_hashes(hashes, dense, *kind) for kind in zip(sizes, (False, True), strict=True)}
        self._kinds |= {kind for kind, found in grams.items() if len(found)}
        return np.concatenate(list(grams.values()))


def _files(paths: tuple[str, ...]) -> list[Path]:
    origins = find([Source(path=path) for path in paths], Path(os.devnull), lambda _: None)
    return list(dict.fromkeys(file for origin in origins for file in origin.files))


@cache
def _index(settings: str) -> Index:
    """Return the index; made once in every process."""
    return Index(Contamination.model_validate_json(settings))


def _items(file: Path, settings: Contamination) -> Iterator[str]:
    """Yield the texts of a test set, one key after the other."""
    for key in settings.text_keys or (settings.read.text_key,):
        reading = settings.read.model_copy(update={"text_key": key})
        for document in read(file, reading, Faults(reading.on_error)):
            yield document.text


def _units(text: str) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return a hash of every word or Han character, and which are Han characters."""
    from rootlm.text.steps.gram_kernel import unit_hashes

    hashes, dense = unit_hashes(codes(text), _folds())
    return hashes, dense


@cache
def _folds() -> NDArray[np.uint32]:
    """Return what every code point counts as: case and width gone, 0 for what separates words."""
    table = np.zeros(_END, dtype=np.uint32)
    table[_BASIC:0x40000] = np.arange(_BASIC, 0x40000, dtype=np.uint32) | _DENSE
    for code in range(_BASIC):
        character = chr(code)
        if unicodedata.category(character)[0] in "LNM":
            plain = unicodedata.normalize("NFKC", character).casefold()
            table[code] = ord(plain) if len(plain) == 1 else code
    for first, last in _DENSE_RANGES:
        block = table[first : last + 1]
        block[block > 0] |= _DENSE
    return table
