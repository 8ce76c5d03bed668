"""A folder as `transformers` writes it: config and weights, opened as one of our networks and written from one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rootlm.core.files import read_json, write_json
from rootlm.layers.unfilled import unfilled
from rootlm.models.foreign import safetensors_files, torch_files
from rootlm.models.foreign.family import Family
from rootlm.models.foreign.gguf_model import read_gguf
from rootlm.models.foreign.key_map import KeyMap, Outgoing, Tensors
from rootlm.models.foreign.registry import family_for, family_of
from rootlm.models.foreign.safetensors_files import INDEX, SafetensorsFiles
from rootlm.models.interface import Network
from rootlm.models.network_config import NetworkConfig

CONFIG = "config.json"
OURS = "rootlm"
SHARD_BYTES = 5_000_000_000
_MARKS = ("bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(frozen=True)
class Published:
    """A network of another library: what it is in our words, and its tensors, unread."""

    family: Family
    config: NetworkConfig
    vocab_size: int
    tensors: Tensors

    def named(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
    ) -> list[Outgoing]:
        """Return our tensors, each made when it is asked for; `dtype` None keeps the type on disk.

        Raises ValueError naming the first tensor that is missing, left over or misshapen.
        """
        model = self.empty()
        wanted = {name: tuple(part.shape) for name, part in model.named_parameters()}
        names, tensors = self.family.key_map(self.config), _Named.over(self.tensors, self.family)
        found = names.read(tensors, wanted, dtype=dtype, device=device)
        _check_tied(model, names, tensors)
        return found

    def network(self, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Network:
        """Return the network with its weights, in evaluation mode; on a CPU in the type on disk they may lie there."""
        model = self.empty()
        held = {one.name: one.make() for one in self.named(dtype=dtype, device=device)}
        model.load_state_dict(held, strict=False, assign=True)
        model.tie()
        return model.eval()

    def empty(self) -> Network:
        """Return the network without weights."""
        with unfilled():
            return self.config.build(self.vocab_size)


def is_gguf(path: Path) -> bool:
    """Tell whether a path is a GGUF file, which holds all that a folder does."""
    return path.suffix == ".gguf" and path.is_file()


def is_published(folder: Path) -> bool:
    """Tell whether a folder's `config.json` is another library's; a GGUF file is one always."""
    if is_gguf(folder):
        return True
    if not (folder / CONFIG).is_file():
        return False
    data = read_json(folder / CONFIG)
    return isinstance(data, dict) and data.get("model_type", OURS) != OURS


def open_folder(folder: Path) -> Published:
    """Open a folder, or a GGUF file, without reading its weights.

    Raises ValueError naming the key, file or tensor that is missing, torn or not supported.
    """
    if is_gguf(folder):
        held = read_gguf(folder)
        return published(held.config, str(folder), held.tensors)
    place = str(folder / CONFIG)
    data = read_json(folder / CONFIG)
    if not isinstance(data, dict):
        raise ValueError(f"{place}: holds a {type(data).__name__}, expected keys and values")
    return published(data, place, _tensors(folder))


def published(data: Mapping[str, Any], place: str, tensors: Tensors) -> Published:
    """Return the network that a config describes, whichever file it and the tensors came from."""
    family = family_of(data, place)
    config, vocab_size = family.read_config(data, place)
    return Published(family, family.fit(config, family.names(tensors.shapes)), vocab_size, tensors)


def _tensors(folder: Path) -> Tensors:
    files = safetensors_files.files_of(folder)
    if files:
        held = SafetensorsFiles(files, str(folder))
        if len(files) > 1 or files[0].name != safetensors_files.SINGLE:
            safetensors_files.check_index(folder / INDEX, held.shapes)
        return held
    pickled = torch_files.files_of(folder)
    if not pickled:
        raise ValueError(
            f"{folder}: holds no model.safetensors, nor shards with an index; copy the weights too"
        )
    opened = torch_files.TorchFiles(pickled, str(folder))
    if len(pickled) > 1 or pickled[0].name != torch_files.SINGLE:
        safetensors_files.check_index(folder / torch_files.INDEX, opened.shapes)
    return opened


def write_folder(
    folder: Path,
    config: NetworkConfig,
    vocab_size: int,
    tensors: Mapping[str, Tensor],
    *,
    dtype: torch.dtype | None = None,
    more: Mapping[str, Any] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Family:
    """Write config and weights as `transformers` reads them, cast to `dtype`; returns the family.

    `more` are further keys of the config, such as ids. Raises ValueError for a network that no family has.
    """
    family = family_for(config, vocab_size)
    outgoing = [_cast(one, dtype) for one in family.key_map(config.resolved()).write(tensors)]
    kinds = {one.dtype for one in outgoing if one.dtype.is_floating_point}
    # Left out, they would be the family's own, which may lie beyond this vocabulary.
    written = dict.fromkeys(_MARKS) | dict(more or {}) | family.write_config(config, vocab_size)
    if len(kinds) == 1:
        written["torch_dtype"] = str(kinds.pop()).removeprefix("torch.")
    safetensors_files.write_files(folder, outgoing, shard_bytes)
    write_json(folder / CONFIG, written)
    return family


def _cast(one: Outgoing, dtype: torch.dtype | None) -> Outgoing:
    if dtype is None or dtype == one.dtype:
        return one
    return Outgoing(one.name, one.shape, dtype, lambda: one.make().to(dtype))


def _check_tied(model: Network, names: KeyMap, tensors: Tensors) -> None:
    """Raise ValueError where a file has two unlike matrices for what the config says is one."""
    theirs = {pair.ours: pair.theirs[0] for pair in names.pairs if len(pair.theirs) == 1}
    first = {id(part): name for name, part in model.named_parameters()}
    for name, part in model.named_parameters(remove_duplicate=False):
        one, other = theirs.get(first[id(part)]), theirs.get(name)
        if one == other or not {one, other} <= set(tensors.shapes):
            continue
        assert one is not None and other is not None
        same = torch.equal(tensors.read(one), tensors.read(other))
        tensors.let_go(other)
        if not same:
            raise ValueError(
                f"{tensors.place}: {other} is not {one}, though config.json says that they are one; set "
                "tie_word_embeddings to false there to have both, or take the one that is not meant out of the file"
            )


class _Named:
    """Tensors of a file under the names that the rules use."""

    def __init__(self, tensors: Tensors, names: Mapping[str, str]) -> None:
        self._tensors, self._names = tensors, names

    @staticmethod
    def over(tensors: Tensors, family: Family) -> Tensors:
        """Return the tensors by a family's names, as they are where they have those already."""
        names = family.names(tensors.shapes)
        if list(names) == list(tensors.shapes):
            return tensors
        return _Named(tensors, names)

    @property
    def place(self) -> str:
        return self._tensors.place

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        held = self._tensors.shapes
        return {ours: held[theirs] for ours, theirs in self._names.items()}

    def dtype(self, name: str) -> torch.dtype:
        return self._tensors.dtype(self._names[name])

    def read(self, name: str) -> Tensor:
        return self._tensors.read(self._names[name])

    def let_go(self, name: str) -> None:
        self._tensors.let_go(self._names[name])
