"""A GGUF file: its settings and its table of tensors, every size checked against the file before it is believed."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rootlm.layers.weight_blocks import Bytes
from rootlm.models.foreign.gguf_blocks import LAYOUTS, OTHERS, Layout
from rootlm.models.foreign.safetensors_files import refuse_pointer

MAGIC = b"GGUF"
ALIGNMENT = "general.alignment"
NUMBERS = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip
"""The types of single settings, by GGUF's numbers, in numpy's words."""
FLOAT32, STRING, ARRAY = 6, 8, 9
_MOST_AXES = 4
_LONGEST_NAME = 1024


@dataclass(frozen=True)
class Entry:
    """A tensor of the table: the rows come first, as numpy and torch count axes."""

    name: str
    shape: tuple[int, ...]
    layout: Layout
    start: int
    """Its first byte in the file."""

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.layout.bytes_of(self.shape)


class GgufFile:
    """A file that is mapped into memory: `settings` by key, `tensors` by name, and the bytes of each."""

    def __init__(self, path: Path) -> None:
        """Read settings and table; raises ValueError naming the place that is cut, lies or is not known."""
        self.path = path
        self._map = _mapped(path)
        cursor = _Cursor(self._map, path)
        n_tensors, n_settings = _counts(cursor)
        self.settings = _settings(cursor, n_settings)
        if self.settings.get("split.count", 0) not in (0, 1):
            raise ValueError(f"{path}: one of several parts; join them first with llama-gguf-split --merge")
        self.tensors = _table(cursor, n_tensors, self._alignment())

    def bytes_of(self, name: str) -> Bytes:
        """Return a tensor's bytes, a view of the file that may be written to without changing it."""
        entry = self.tensors[name]
        return np.frombuffer(self._map, np.uint8, entry.size, entry.start)

    def let_go(self, name: str) -> None:
        """Free the memory that the pages of a tensor take; they are read again when they are needed."""
        entry = self.tensors[name]
        first = -(-entry.start // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (entry.start + entry.size - first) // mmap.PAGESIZE * mmap.PAGESIZE
        if length > 0:
            self._map.madvise(mmap.MADV_DONTNEED, first, length)

    def _alignment(self) -> int:
        given = self.settings.get(ALIGNMENT, 32)
        if not isinstance(given, int) or given < 8 or given & (given - 1):
            raise ValueError(
                f"{self.path}: {ALIGNMENT} is {given}, expected a power of two from 8; the header is damaged"
            )
        return given


class _Cursor:
    """A place in the file that only moves where there are bytes."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def number(self, code: str, what: str) -> int:
        size = struct.calcsize(code)
        self.require(size, what)
        value = struct.unpack_from(code, self.data, self.at)[0]
        self.at += size
        return int(value)

    def text(self, what: str) -> str:
        length = self.number("<Q", what)
        self.require(length, what)
        self.at += length
        try:
            return self.data[self.at - length : self.at].decode()
        except UnicodeDecodeError as error:
            raise self.damaged(f"{what} is not UTF-8") from error

    def name(self, what: str) -> str:
        """Read a text that messages may show as it is."""
        found = self.text(what)
        if not found.isprintable() or len(found) > _LONGEST_NAME:
            raise self.damaged(f"{what} is {found[:40]!r}, no name")
        return found

    def require(self, size: int, what: str) -> None:
        if size > self.left:
            raise ValueError(
                f"{self.path}: byte {self.at}: {what} needs {size:,} bytes and {self.left:,} are left; "
                "the file is cut short or its header lies, copy it again"
            )

    def damaged(self, why: str) -> ValueError:
        return ValueError(f"{self.path}: byte {self.at}: {why}; the file is damaged, copy it again")


def _mapped(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as stream:
            # A private mapping may be written to, as torch wishes, and the file stays as it is.
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); expected a GGUF file") from error
    except ValueError as error:
        raise ValueError(f"{path}: is empty; copy it again") from error


def _counts(cursor: _Cursor) -> tuple[int, int]:
    """Return how many tensors and settings the header promises."""
    if cursor.data[:4] != MAGIC:
        refuse_pointer(cursor.path)
        raise ValueError(f"{cursor.path}: does not begin with GGUF; it is another kind of file")
    cursor.at = 4
    version = cursor.number("<I", "the version")
    if version not in (2, 3):
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        if swapped in (2, 3):
            raise ValueError(
                f"{cursor.path}: written for big-endian machines; convert it with gguf_convert_endian.py"
            )
        raise ValueError(f"{cursor.path}: GGUF version {version} is not known; versions 2 and 3 are")
    n_tensors, n_settings = (
        cursor.number("<Q", "the count of tensors"),
        cursor.number("<Q", "the count of settings"),
    )
    # The shortest setting takes 13 bytes, the shortest entry of a tensor 32.
    cursor.require(n_settings * 13 + n_tensors * 32, f"{n_settings:,} settings and {n_tensors:,} tensors")
    return n_tensors, n_settings


def _settings(cursor: _Cursor, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number in range(count):
        key = cursor.name(f"the name of setting {number + 1}")
        if key in found:
            raise cursor.damaged(f"{key} is given twice")
        kind = cursor.number("<I", f"the type of {key}")
        found[key] = _array(cursor, key) if kind == ARRAY else _single(cursor, kind, key)
    return found


def _single(cursor: _Cursor, kind: int, key: str) -> Any:
    if kind == STRING:
        return cursor.text(key)
    value = _numbers(cursor, kind, 1, key)[0]
    # The shortest number that float32 rounds to the same: 1e-06 was meant, not 9.99999997e-07.
    return float(str(np.float32(value))) if kind == FLOAT32 else value


def _numbers(cursor: _Cursor, kind: int, count: int, key: str) -> list[Any]:
    if kind not in NUMBERS:
        raise cursor.damaged(f"{key} has type {kind}, which GGUF does not have")
    dtype = np.dtype(NUMBERS[kind])
    cursor.require(count * dtype.itemsize, f"{key} with {count:,} numbers")
    numbers: list[Any] = np.frombuffer(cursor.data, dtype, count, cursor.at).tolist()
    cursor.at += count * dtype.itemsize
    return numbers


def _array(cursor: _Cursor, key: str) -> list[Any]:
    kind, count = cursor.number("<I", f"the type within {key}"), cursor.number("<Q", f"the count of {key}")
    if kind != STRING:
        return _numbers(cursor, kind, count, key)
    cursor.require(count * 8, f"{key} with {count:,} texts")
    return [cursor.text(key) for _ in range(count)]


def _table(cursor: _Cursor, count: int, alignment: int) -> Mapping[str, Entry]:
    """Return the table of tensors, none of which leaves the file or lies on another."""
    read = [_entry(cursor) for _ in range(count)]
    base = -(-cursor.at // alignment) * alignment
    found: dict[str, Entry] = {}
    for entry in read:
        if entry.name in found:
            raise cursor.damaged(f"tensor {entry.name} is listed twice")
        if entry.start % alignment:
            raise cursor.damaged(f"tensor {entry.name} begins at {entry.start}, no multiple of {alignment}")
        start = base + entry.start
        if start + entry.size > len(cursor.data):
            raise ValueError(
                f"{cursor.path}: tensor {entry.name} ends at byte {start + entry.size:,} of {len(cursor.data):,}; "
                "the file is cut short or its header lies, copy it again"
            )
        found[entry.name] = Entry(entry.name, entry.shape, entry.layout, start)
    end, before = 0, ""
    for entry in sorted(found.values(), key=lambda one: one.start):
        if entry.start < end:
            raise cursor.damaged(f"tensors {before} and {entry.name} lie on one another")
        end, before = entry.start + entry.size, entry.name
    return found


def _entry(cursor: _Cursor) -> Entry:
    """Read a line of the table; its start still counts from the first tensor's."""
    name = cursor.name("the name of a tensor")
    axes = cursor.number("<I", f"the axes of {name}")
    if not 1 <= axes <= _MOST_AXES:
        raise cursor.damaged(f"tensor {name} has {axes} axes, expected 1 to {_MOST_AXES}")
    sizes = [cursor.number("<Q", f"the shape of {name}") for _ in range(axes)]
    number = cursor.number("<I", f"the type of {name}")
    start = cursor.number("<Q", f"the start of {name}")
    if number not in LAYOUTS:
        known = ", ".join(layout.name for layout in LAYOUTS.values())
        said = OTHERS.get(number, "unknown")
        raise ValueError(
            f"{cursor.path}: tensor {name} has type {number} ({said}), which is not read; "
            f"convert the file to one of {known}"
        )
    layout = LAYOUTS[number]
    if min(sizes) < 1 or sizes[0] % layout.values:
        raise cursor.damaged(f"tensor {name} of shape {sizes} cannot be made of blocks of {layout.values}")
    return Entry(name, tuple(reversed(sizes)), layout, start)
