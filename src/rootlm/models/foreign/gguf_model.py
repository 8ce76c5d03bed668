"""GGUF files, read and written as what Hugging Face would hold: config, tensors, tokenizer, template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rootlm.models.foreign.foreign_model import ForeignModel
from rootlm.models.foreign.gguf_blocks import BF16, F16, F32, LAYOUTS, values
from rootlm.models.foreign.gguf_names import Named, names
from rootlm.models.foreign.gguf_quantising import KINDS, Kind, encoded, layout_of
from rootlm.models.foreign.gguf_reading import GgufFile
from rootlm.models.foreign.gguf_rotary import TENSORS, Divisors
from rootlm.models.foreign.gguf_settings_reading import read_config
from rootlm.models.foreign.gguf_settings_writing import Described, write_settings
from rootlm.models.foreign.gguf_tokenizer import read_tokenizer
from rootlm.models.foreign.gguf_vocabulary import Marks, write_tokenizer
from rootlm.models.foreign.gguf_writing import Written, write_file
from rootlm.models.foreign.key_map import Tensors

_FILE_TYPES: dict[Kind, int] = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7, "BF16": 32}
_TYPES = {F32.number: torch.float32, F16.number: torch.float16, BF16.number: torch.bfloat16}
_IDS = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
_SAMPLING = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
_MOST_AXES = 2
_TEMPLATE = "tokenizer.chat_template"


def read_gguf(path: Path) -> ForeignModel:
    """Open a file without reading its weights.

    Raises ValueError in one line, naming the file and the place, for one that is cut short, lies about its sizes,
    or holds what is not supported.
    """
    file = GgufFile(path)
    place = str(path)
    architecture = file.settings.get("general.architecture")
    if not isinstance(architecture, str):
        raise ValueError(f"{place}: general.architecture is missing; the file is not whole")
    prefix = f"{architecture}."
    own = {key.removeprefix(prefix): value for key, value in file.settings.items() if key.startswith(prefix)}
    shapes = {name: entry.shape for name, entry in file.tensors.items()}
    small = {name: _divisors(file, name) for name in TENSORS if name in shapes}
    config = read_config(architecture, own, shapes, small, place)
    tensors = GgufTensors(file, list(names(architecture, config)))
    tokenizer = read_tokenizer(file.settings, config["vocab_size"], place)
    template = file.settings.get(_TEMPLATE)
    marks = _marks(file.settings)
    return ForeignModel(
        config={**config, **marks},
        tensors=tensors,
        tokenizer_json=tokenizer,
        chat_template=template if isinstance(template, str) else None,
        generation={**marks, **_sampling(file.settings)},
        name=file.settings.get("general.name"),
    )


def write_gguf(path: Path, foreign: ForeignModel, kind: Kind = "F16") -> None:
    """Write a model so that llama.cpp runs it; `kind` is how its matrices are written.

    Raises ValueError in one line for a network, a tokenizer or a tensor that llama.cpp has no equal for, before
    anything is written.
    """
    place = foreign.tensors.place
    if kind not in KINDS:
        raise ValueError(f"{path}: kind {kind!r} is not written; {', '.join(KINDS)} are")
    described = write_settings(foreign.config, place)
    written = _written(foreign.tensors, described, foreign.config, kind)
    settings = {
        "general.architecture": described.architecture,
        "general.type": "model",
        **({"general.name": foreign.name} if foreign.name else {}),
        "general.file_type": _FILE_TYPES[kind],
        "general.quantization_version": 2,
        **{f"{described.architecture}.{key}": value for key, value in described.settings.items()},
        **_write_sampling(foreign.generation),
    }
    if foreign.tokenizer_json is not None:
        marks = Marks.of({**foreign.config, **foreign.generation})
        vocab_size = int(foreign.config["vocab_size"])
        settings |= write_tokenizer(foreign.tokenizer_json, vocab_size, marks, place)
    else:
        settings["tokenizer.ggml.model"] = "none"
    if foreign.chat_template:
        settings[_TEMPLATE] = foreign.chat_template
    write_file(path, settings, written)


class GgufTensors:
    """The tensors of a file under Hugging Face's names, each made when it is asked for."""

    def __init__(self, file: GgufFile, expected: list[Named]) -> None:
        """Raises ValueError naming a tensor that no name stands for."""
        self._file = file
        self._named = {one.name: one for one in expected if one.gguf in file.tensors}
        known = {one.gguf for one in self._named.values()} | set(TENSORS)
        for name, entry in file.tensors.items():
            if name not in known:
                raise ValueError(f"{file.path}: holds {name}, which rootlm has no place for")
            if len(entry.shape) > _MOST_AXES:
                raise ValueError(
                    f"{file.path}: {name} has the shape {entry.shape}, expected a matrix or a row"
                )
        for one in self._named.values():
            shape = file.tensors[one.gguf].shape
            if one.turn is not None and shape[0] % one.turn.groups:
                raise ValueError(
                    f"{file.path}: {one.gguf} has {shape[0]} rows, which the heads cannot share; the header lies"
                )

    @property
    def place(self) -> str:
        """The file."""
        return str(self._file.path)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor."""
        return {name: self._shape(one) for name, one in self._named.items()}

    def dtype(self, name: str) -> torch.dtype:
        """Return a tensor's type: its own where it is a plain one, float32 for blocks."""
        return _TYPES.get(self._entry(name).layout.number, torch.float32)

    def read(self, name: str) -> Tensor:
        """Return a tensor: a view of the file where it lies there as it is."""
        entry = self._entry(name)
        data = self._file.bytes_of(entry.name)
        if entry.layout.read is None:
            flat = torch.from_numpy(data).view(_TYPES[entry.layout.number])
        else:
            flat = torch.empty(int(np.prod(entry.shape)))
            values(data, entry.layout, flat.numpy())
        made = flat.view(entry.shape)
        turn = self._named[name].turn
        return made if turn is None else turn.read(made)

    def let_go(self, name: str) -> None:
        """Free the memory of a tensor's pages."""
        self._file.let_go(self._named[name].gguf)

    def _entry(self, name: str) -> Any:
        return self._file.tensors[self._named[name].gguf]

    def _shape(self, one: Named) -> tuple[int, ...]:
        given = torch.empty(self._file.tensors[one.gguf].shape, device="meta")
        return tuple((given if one.turn is None else one.turn.read(given)).shape)


def _divisors(file: GgufFile, name: str) -> Divisors:
    entry = file.tensors[name]
    if entry.layout is not F32 or len(entry.shape) != 1:
        raise ValueError(f"{file.path}: {name} is not a row of F32; the file is damaged")
    return file.bytes_of(name).view(np.float32).astype(np.float64)


def _written(tensors: Tensors, described: Described, config: Mapping[str, Any], kind: Kind) -> list[Written]:
    shapes = tensors.shapes
    known = {one.name: one for one in names(described.architecture, config)}
    tied = "lm_head.weight" not in shapes or bool(config.get("tie_word_embeddings"))
    for name in shapes:
        if name not in known:
            raise ValueError(f"{tensors.place}: {name} has no name in llama.cpp's {described.architecture}")
    made = [
        _outgoing(tensors, known[name], kind, tied=tied)
        for name in known
        if name in shapes and not (tied and name == "lm_head.weight")
    ]
    small = [
        Written(name, row.shape, F32, lambda row=row: [row.astype(np.float32).tobytes()])
        for name, row in described.tensors.items()
    ]
    return small + made


def _outgoing(tensors: Tensors, named: Named, kind: Kind, *, tied: bool) -> Written:
    turn = named.turn

    def turned(tensor: Tensor) -> Tensor:
        return tensor if turn is None else turn.write(tensor)

    shape = tuple(turned(torch.empty(tensors.shapes[named.name], device="meta")).shape)
    layout = layout_of(named.gguf, shape, kind, tied=tied)

    def make() -> Iterator[bytes]:
        given = tensors.read(named.name)
        # A gain about one is moved in float32, or the sum would be rounded to the type it came in.
        yield from encoded(turned(given.float() if layout is F32 else given), layout, named.name)
        tensors.let_go(named.name)

    return Written(named.gguf, shape, layout, make)


def _marks(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ids that begin, end and fill; the end of a turn is an end too."""
    found = {
        key: settings[f"tokenizer.ggml.{name}_token_id"]
        for key, name in _IDS.items()
        if f"tokenizer.ggml.{name}_token_id" in settings
    }
    ends = [settings.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    several = list(dict.fromkeys(number for number in ends if number is not None))
    return found | ({"eos_token_id": several} if len(several) > 1 else {})


def _sampling(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: settings[f"general.sampling.{name}"]
        for key, name in _SAMPLING.items()
        if f"general.sampling.{name}" in settings
    }


def _write_sampling(generation: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, name in _SAMPLING.items():
        value = generation.get(key)
        if value is not None:
            found[f"general.sampling.{name}"] = int(value) if key == "top_k" else float(value)
    return found


assert set(_TYPES) <= set(LAYOUTS)
