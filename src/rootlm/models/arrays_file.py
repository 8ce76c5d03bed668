"""Arrays by name in a safetensors file: written without a copy in memory, opened without reading them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from rootlm.core.files import new_file

Array = NDArray[Any]
_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "I32": np.dtype("<i4"),
}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_LONGEST_HEADER = 100 << 20


def write_arrays(path: Path, arrays: Mapping[str, Array], about: Mapping[str, str] | None = None) -> None:
    """Write arrays as safetensors, whole or not at all; `about` is text beside them."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **(about or {})}}
    # What is wider comes first: so every array begins at a multiple of its numbers' width.
    order = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    place = 0
    for name in order:
        end = place + arrays[name].nbytes
        kind = _NAMES[arrays[name].dtype.newbyteorder("<")]
        header[name] = {"dtype": kind, "shape": list(arrays[name].shape), "data_offsets": [place, end]}
        place = end
    text = orjson.dumps(header)
    text += b" " * (-len(text) % 8)
    with new_file(path) as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            stream.write(np.ascontiguousarray(arrays[name]).data)


def open_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the arrays of a safetensors file, mapped into memory and read when used, and the text beside them.

    Raises ValueError naming the file when it is missing or torn.
    """
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            if size > _LONGEST_HEADER:
                raise _torn(path, "its header has no end")
            header = orjson.loads(stream.read(size))
        about: dict[str, str] = header.pop("__metadata__", {})
        return {name: _mapped(path, 8 + size, name, held) for name, held in header.items()}, about
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise _torn(path, f"its header is none ({error})") from error


def _mapped(path: Path, begin: int, name: str, held: Mapping[str, Any]) -> Array:
    kind, shape, (first, end) = _TYPES[held["dtype"]], tuple(held["shape"]), held["data_offsets"]
    count = math.prod(shape)
    if count * kind.itemsize != end - first or begin + end > path.stat().st_size:
        raise _torn(path, f"{name} is cut short")
    if not count:
        return np.empty(shape, kind)
    return np.asarray(np.memmap(path, kind, "r", begin + first, shape))


def _torn(path: Path, why: str) -> ValueError:
    return ValueError(f"{path}: cannot be read ({why}); the file is torn, copy it again")
