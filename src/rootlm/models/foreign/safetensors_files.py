"""Tensors in safetensors files, one or several shards: mapped into memory, read when used, written one by one."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import torch
from torch import Tensor

from rootlm.core.files import new_file, read_json, write_json
from rootlm.models.foreign.key_map import Outgoing

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_LONGEST_HEADER, _LONGEST_NAME = 100_000_000, 255
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class _Held:
    """Where a tensor lies."""

    mapped: mmap.mmap
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsFiles:
    """All tensors of a folder's safetensors files."""

    def __init__(self, files: Sequence[Path], place: str) -> None:
        """Read the headers; raises ValueError naming a file that is missing, torn or lies about itself."""
        self._place = place
        self._held: dict[str, _Held] = {}
        for file in files:
            self._held |= _header(file)

    @property
    def place(self) -> str:
        """Where they lie."""
        return self._place

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor."""
        return {name: held.shape for name, held in self._held.items()}

    def dtype(self, name: str) -> torch.dtype:
        """Return a tensor's type."""
        return self._held[name].dtype

    def read(self, name: str) -> Tensor:
        """Return a tensor that lies in its file; a change of it changes memory, never the file."""
        held = self._held[name]
        count = math.prod(held.shape)
        if not count:
            return torch.empty(held.shape, dtype=held.dtype)
        if held.begin % held.dtype.itemsize:
            # Only where a file is laid out oddly; torch reads no number across its border.
            raw = bytearray(held.mapped[held.begin : held.end])
            return torch.frombuffer(raw, dtype=held.dtype).view(held.shape)
        flat = torch.frombuffer(held.mapped, dtype=held.dtype, count=count, offset=held.begin)
        return flat.view(held.shape)

    def let_go(self, name: str) -> None:
        """Give the pages of a tensor that was copied back to the system."""
        held = self._held[name]
        begin = -(-held.begin // mmap.PAGESIZE) * mmap.PAGESIZE
        end = held.end // mmap.PAGESIZE * mmap.PAGESIZE
        if end > begin and hasattr(mmap, "MADV_DONTNEED"):
            held.mapped.madvise(mmap.MADV_DONTNEED, begin, end - begin)


def files_of(folder: Path) -> list[Path]:
    """Return a folder's safetensors files, none where it has none; every shard that its index names is there.

    Raises ValueError naming a shard that is missing, and a name in the index that is none.
    """
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    index = folder / INDEX
    return shards_of(index) if index.is_file() else []


def shards_of(index: Path) -> list[Path]:
    """Return the files that an index names; raises ValueError for one that is missing or lies elsewhere."""
    data = read_json(index)
    named = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(named, dict) or not named or not all(isinstance(one, str) for one in named.values()):
        raise ValueError(f"{index}: has no weight_map; copy it again")
    files = [index.parent / name for name in dict.fromkeys(named.values())]
    for file, name in zip(files, dict.fromkeys(named.values()), strict=True):
        if Path(name).name != name or name in ("", "..") or "\0" in name or len(name) > _LONGEST_NAME:
            raise ValueError(
                f"{index}: names {name[:80]!r}, which is no file beside it; the index was tampered with"
            )
        if not file.is_file():
            raise ValueError(f"{file}: missing, though {index.name} names it; copy it too")
    return files


def check_index(index: Path, held: Iterable[str]) -> None:
    """Raise ValueError when an index names a tensor that its files do not hold."""
    absent = sorted(set(read_json(index)["weight_map"]) - set(held))
    if absent:
        raise ValueError(f"{index}: names {absent[0]}, which none of its files holds; copy them again")


def _header(file: Path) -> dict[str, _Held]:
    """Return what a file holds, by name; every size is checked against the file before it is believed."""
    try:
        size = file.stat().st_size
        refuse_pointer(file)
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(_LONGEST_HEADER, size - 8):
                raise _torn(file, "its header has no end")
            header = orjson.loads(stream.read(length))
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
        header.pop("__metadata__", None)
        return {name: _entry(file, mapped, (name, held), 8 + length) for name, held in header.items()}
    except OSError as error:
        raise ValueError(f"{file}: cannot be read ({error.strerror})") from error
    except (orjson.JSONDecodeError, LookupError, AttributeError, TypeError) as error:
        raise _torn(file, f"its header is none: {error!r}") from error


def _entry(file: Path, mapped: mmap.mmap, entry: tuple[str, Any], start: int) -> _Held:
    name, held = entry
    if held["dtype"] not in _TYPES:
        raise ValueError(f"{file}: {name} has type {held['dtype']}, which rootlm does not read")
    kind, shape, offsets = _TYPES[held["dtype"]], tuple(held["shape"]), tuple(held["data_offsets"])
    if len(offsets) != 2 or not all(type(one) is int and one >= 0 for one in (*shape, *offsets)):
        raise _torn(file, f"the place of {name} is none")
    first, last = offsets
    if math.prod(shape) * kind.itemsize != last - first or start + last > len(mapped):
        raise _torn(file, f"{name} is cut short")
    return _Held(mapped, kind, shape, start + first, start + last)


def refuse_pointer(file: Path) -> None:
    """Raise ValueError for what git leaves in the place of a large file until git-lfs fetches it."""
    with file.open("rb") as stream:
        if stream.read(len(_POINTER)) == _POINTER:
            raise ValueError(
                f"{file}: is a pointer of git-lfs, not the weights; run git lfs pull in its folder"
            )


def _torn(file: Path, why: str) -> ValueError:
    return ValueError(f"{file}: cannot be read ({why}); the file is torn, copy it again")


def write_files(folder: Path, tensors: Sequence[Outgoing], most_bytes: int) -> list[str]:
    """Write one file, or shards of at most so many bytes with their index; returns the names of the files."""
    shards: list[list[Outgoing]] = [[]]
    filled = 0
    for one in tensors:
        size = _bytes(one)
        if shards[-1] and filled + size > most_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(one)
        filled += size
    if len(shards) == 1:
        _write(folder / SINGLE, shards[0])
        return [SINGLE]
    count = len(shards)
    names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    for name, shard in zip(names, shards, strict=True):
        _write(folder / name, shard)
    where = {one.name: name for name, shard in zip(names, shards, strict=True) for one in shard}
    total = sum(map(_bytes, tensors))
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": where})
    return names


def _bytes(one: Outgoing) -> int:
    return math.prod(one.shape) * one.dtype.itemsize


def _write(file: Path, tensors: Sequence[Outgoing]) -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for one in tensors:
        end = place + _bytes(one)
        kind = _NAMES[one.dtype]
        header[one.name] = {"dtype": kind, "shape": list(one.shape), "data_offsets": [place, end]}
        place = end
    text = orjson.dumps(header)
    text += b" " * (-len(text) % 8)
    with new_file(file) as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for one in tensors:
            _pour(stream, one.make().detach().cpu().contiguous())


def _pour(stream: BinaryIO, tensor: Tensor) -> None:
    if tensor.numel():
        stream.write(tensor.view(-1).view(torch.uint8).numpy().data)
