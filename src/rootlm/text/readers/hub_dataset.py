"""Hugging Face `datasets`: .arrow files, the folders that `save_to_disk` writes, and names on the hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import TORN, RawFile, shown
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.bounds import words
from rootlm.text.readers.parquet import BATCH_BYTES, documents, failing, library, wanted

HUB = "hf://"
STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"
_MEND = "mend or replace the file"
_MAGIC = b"ARROW1"
_NAME = re.compile(r"hf://([\w.-]+(?:/[\w.-]+)?)(?:/([\w.-]+))?(?::([\w.-]+))?")


def read_arrow(file: RawFile, reading: Reading, faults: Faults) -> Iterator[Document]:
    """Rows in Arrow's stream or file format, read as .parquet is: a column of text, the others to meta."""
    ipc = library(file, "ipc")
    try:
        stream = file.open()
    except TORN as error:
        faults.report(file.place, "unreadable file", f"cannot be read ({words(error)})", _MEND)
        return
    with stream:
        try:
            head = stream.read(len(_MAGIC))
            # The file format is the stream format between two marks; only those who seek need the second.
            begun = stream.read(2) if head == _MAGIC else head
            opened = ipc.open_stream(_After(b"" if head == _MAGIC else begun, stream))
        except failing() as error:
            faults.report(file.place, "broken arrow", f"cannot be opened ({words(error)})", _MEND)
            return
        columns = wanted(opened.schema, file, reading)
        yield from documents(_few(opened, columns), 1, file, reading, faults)


def _few(batches: Iterable[Any], columns: list[str]) -> Iterator[Any]:
    """Yield the rows a few at a time: a batch of long texts is large."""
    for batch in batches:
        rows = max(BATCH_BYTES * batch.num_rows // max(batch.nbytes, 1), 1)
        for first in range(0, batch.num_rows, rows):
            yield batch.select(columns).slice(first, rows)


class _After:
    """A stream whose first bytes were read already."""

    closed = False

    def __init__(self, begun: bytes, stream: Any) -> None:
        self._begun, self._stream = begun, stream

    def read(self, size: int) -> bytes:
        """Read as much as there is: a length that lies must not take memory before it is noticed."""
        parts, self._begun = [self._begun[:size]], self._begun[size:]
        left = size - len(parts[0])
        while left > 0 and (block := self._stream.read(min(left, BATCH_BYTES))):
            parts.append(block)
            left -= len(block)
        return b"".join(parts)


def saved_files(folder: Path) -> list[Path] | None:
    """Return the files of a folder that `save_to_disk` wrote, all splits in order; None for another folder.

    Raises ValueError when a file is missing or what the folder says about itself cannot be read.
    """
    if (folder / SPLITS).is_file():
        splits = _listed(folder / SPLITS, "splits")
        return [file for split in splits for file in _saved_split(folder / split)]
    return _saved_split(folder) if (folder / STATE).is_file() else None


def _saved_split(folder: Path) -> list[Path]:
    state = folder / STATE
    if not (folder / INFO).is_file():
        raise ValueError(f"{shown(folder)}: has no {INFO}; copy the whole folder that save_to_disk wrote")
    content = _object(state)
    if content.get("_indices_data_files") or content.get("_indices_files"):
        raise ValueError(
            f"{shown(state)}: the rows are chosen by an index apart; "
            "save the dataset again with datasets 2.10 or newer"
        )
    files = [folder / name for name in _listed(state, "_data_files")]
    for file in files:
        if not file.is_file():
            raise ValueError(f"{shown(file)}: is listed in {STATE} but missing; copy the whole folder")
    return files


def _object(file: Path) -> dict[str, Any]:
    try:
        content = orjson.loads(file.read_bytes())
    except (orjson.JSONDecodeError, OSError) as error:
        raise ValueError(f"{shown(file)}: not valid JSON ({error}); {_MEND}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{shown(file)}: expected an object; {_MEND}")
    return content


def _listed(file: Path, key: str) -> list[str]:
    """Return the names that a file lists; none of them may lead out of its folder."""
    found = _object(file).get(key)
    parts = found if isinstance(found, list) else [None]
    names: list[str] = []
    for part in parts:
        name = part.get("filename") if isinstance(part, dict) else part
        if not isinstance(name, str) or not re.fullmatch(r"[^/\\]+", name) or name == "..":
            raise ValueError(f'{shown(file)}: "{key}" lists no names of files; save the dataset again')
        names.append(name)
    return names


def hub_files(name: str) -> list[Path]:
    """Return the .arrow files of a dataset on the Hugging Face hub, downloaded to its cache where needed.

    `hf://owner/name[/config][:split]`; without a split all of them. HF_HOME, HF_HUB_OFFLINE and the other
    variables of the library are honoured. Raises ValueError for a name that cannot be had.

    >>> hub_files("hf://a/b/c/d")
    Traceback (most recent call last):
    ValueError: hf://a/b/c/d: not a name on the hub; write hf://owner/name, hf://owner/name/config:split
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(
            f"{name}: not a name on the hub; write hf://owner/name, hf://owner/name/config:split"
        )
    try:
        from datasets import Dataset, load_dataset
    except ImportError as error:
        raise ValueError(f'{name}: reading it needs an extra: pip install "rootlm[datasets]"') from error
    path, config, split = match.groups()
    try:
        loaded = load_dataset(path, config, split=split)
    except Exception as error:
        remedy = "check the name, the network, HF_TOKEN for private ones, HF_HUB_OFFLINE for cached ones"
        raise ValueError(f"{name}: cannot be had ({words(error)}); {remedy}") from error
    parts: Iterable[Any] = [loaded] if isinstance(loaded, Dataset) else loaded.values()
    files = [Path(file["filename"]) for part in parts for file in part.cache_files]
    if not files:
        raise ValueError(f"{name}: holds no rows; choose another split or config")
    return files
