"""Tensors in files that torch pickled: only tensors are let in, nothing in the file is ever run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rootlm.core.foreign_words import in_one_line
from rootlm.models.foreign.safetensors_files import refuse_pointer, shards_of

SINGLE, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


class TorchFiles:
    """All tensors of some files, mapped into memory where the file's kind allows it."""

    def __init__(self, files: Sequence[Path], place: str) -> None:
        """Open the files; raises ValueError naming one that is torn or holds anything but tensors."""
        self._place = place
        self._held: dict[str, Tensor] = {}
        for file in files:
            self._held |= _opened(file)

    @property
    def place(self) -> str:
        """Where they lie."""
        return self._place

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor."""
        return {name: tuple(tensor.shape) for name, tensor in self._held.items()}

    def dtype(self, name: str) -> torch.dtype:
        """Return a tensor's type."""
        return self._held[name].dtype

    def read(self, name: str) -> Tensor:
        """Return a tensor."""
        return self._held[name]

    def let_go(self, name: str) -> None:
        """Forget a tensor's contents."""
        held = self._held[name]
        self._held[name] = torch.empty(held.shape, dtype=held.dtype, device="meta")


def files_of(folder: Path) -> list[Path]:
    """Return a folder's files of this kind, none where it has none."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    return shards_of(folder / INDEX) if (folder / INDEX).is_file() else []


def _opened(file: Path) -> dict[str, Tensor]:
    refuse_pointer(file)
    try:
        data: Any = _loaded(file)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file}: holds more than tensors, which could run as a program and is not opened; "
            "save its state_dict() where it was made, or ask for the model as safetensors"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{file}: cannot be read ({in_one_line(error)}); the file is torn, copy it again"
        ) from error
    if isinstance(data, dict) and isinstance(data.get("state_dict"), dict):
        data = data["state_dict"]
    if not isinstance(data, Mapping):
        raise ValueError(f"{file}: holds a {type(data).__name__}, expected tensors by their names")
    for name, value in data.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"{file}: {name} is no tensor with a name; ask for the model as safetensors")
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            kind = "quantised" if value.is_quantized else str(value.layout).removeprefix("torch.")
            raise ValueError(f"{file}: {name} is {kind}, not plain numbers; ask for the model as safetensors")
    return {name: value.detach() for name, value in data.items()}


def _loaded(file: Path) -> Any:
    # Files older than torch 1.6 are no archives and cannot be mapped.
    with file.open("rb") as stream:
        is_archive = stream.read(2) == b"PK"
    return torch.load(file, map_location="cpu", weights_only=True, mmap=is_archive)
