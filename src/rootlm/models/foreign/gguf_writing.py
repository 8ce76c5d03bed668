"""A GGUF file written from settings and tensors, one tensor in memory at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rootlm.core.files import new_file, require_space
from rootlm.models.foreign.gguf_blocks import Layout
from rootlm.models.foreign.gguf_reading import ARRAY, MAGIC, NUMBERS, STRING

_VERSION = 3
_ALIGNMENT = 32
U32, I32, F32, BOOL = 4, 5, 6, 7


@dataclass(frozen=True)
class Many:
    """A setting with several values of one of GGUF's types."""

    kind: int
    values: Sequence[Any]


@dataclass(frozen=True)
class Written:
    """A tensor to be written: the rows come first, as numpy and torch count axes."""

    name: str
    shape: tuple[int, ...]
    layout: Layout
    make: Any
    """Yields its bytes, in pieces."""


def write_file(path: Path, settings: Mapping[str, Any], tensors: Sequence[Written]) -> None:
    """Write a file that is whole or absent; raises ValueError when the disk has no room."""
    head = _head(settings, tensors)
    sizes = [tensor.layout.bytes_of(tensor.shape) for tensor in tensors]
    require_space(path.parent, len(head) + sum(sizes) + len(sizes) * _ALIGNMENT)
    with new_file(path) as stream:
        stream.write(head)
        _pad(stream)
        for tensor, size in zip(tensors, sizes, strict=True):
            start = stream.tell()
            for piece in tensor.make():
                stream.write(piece)
            assert stream.tell() - start == size, tensor.name
            _pad(stream)


def _head(settings: Mapping[str, Any], tensors: Sequence[Written]) -> bytes:
    parts = [MAGIC, struct.pack("<IQQ", _VERSION, len(tensors), len(settings))]
    for key, value in settings.items():
        parts += [_text(key), *_setting(value)]
    start = 0
    for tensor in tensors:
        axes = tuple(reversed(tensor.shape))
        parts += [_text(tensor.name), struct.pack(f"<I{len(axes)}Q", len(axes), *axes)]
        parts.append(struct.pack("<IQ", tensor.layout.number, start))
        start += -(-tensor.layout.bytes_of(tensor.shape) // _ALIGNMENT) * _ALIGNMENT
    return b"".join(parts)


def _setting(value: Any) -> Iterator[bytes]:
    """Yield the type and the value of a setting."""
    if isinstance(value, Many):
        yield struct.pack("<IIQ", ARRAY, value.kind, len(value.values))
        if value.kind == STRING:
            yield from map(_text, value.values)
        else:
            yield np.asarray(value.values, NUMBERS[value.kind]).tobytes()
    elif isinstance(value, str):
        yield struct.pack("<I", STRING) + _text(value)
    else:
        kind = BOOL if isinstance(value, bool) else U32 if isinstance(value, int) else F32
        yield struct.pack("<I", kind) + np.asarray(value, NUMBERS[kind]).tobytes()


def _text(value: str) -> bytes:
    content = value.encode()
    return struct.pack("<Q", len(content)) + content


def _pad(stream: BinaryIO) -> None:
    stream.write(bytes(-stream.tell() % _ALIGNMENT))
