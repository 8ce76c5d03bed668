"""Adapters under PEFT's names: `adapter_config.json` and `adapter_model.safetensors`, written and read.

PEFT gives every matrix of the other library an A and a B. Where one of ours stacks several of theirs, those that have
an adapter become its parts; where one of theirs is several parts of ours, their A are laid one below the other, and
their B stand on a diagonal. Both are the same products, so nothing is lost either way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from safetensors.torch import save
from torch import Tensor, nn

from rootlm.core.files import read_json, write_bytes, write_json
from rootlm.layers.adapters import Matrix, adapt, adapted, matrices, targets_of
from rootlm.layers.low_rank import LoraConfig, LowRank
from rootlm.models.catalog import read_weights
from rootlm.models.foreign.peft_settings import CONFIG, WEIGHTS, read_settings, write_settings
from rootlm.models.interface import Encoder, SourceModel


class Change(Protocol):
    """A change of a tensor that can be taken back."""

    @property
    def read(self) -> Callable[[Tensor], Tensor]:
        """Makes theirs ours."""
        ...

    @property
    def write(self) -> Callable[[Tensor], Tensor]:
        """Makes ours theirs."""
        ...


class Pair(Protocol):
    """One tensor of ours, and those of theirs that are laid one after another along its first axis."""

    @property
    def ours(self) -> str:
        """Its name."""
        ...

    @property
    def theirs(self) -> Sequence[str]:
        """Their names."""
        ...

    @property
    def heights(self) -> Sequence[int]:
        """The rows that each of theirs gives; none where there is one."""
        ...

    @property
    def change(self) -> Change | None:
        """What is done to each of theirs, if anything."""
        ...


class Low(NamedTuple):
    """What PEFT keeps of one matrix: A (rank, width), B (rows, rank), and with DoRA a length for each row."""

    down: Tensor
    up: Tensor
    magnitude: Tensor | None


@dataclass(frozen=True)
class _Place:
    """Where one of their matrices lies among ours."""

    name: str
    rows: slice
    change: Change | None

    @property
    def turned(self) -> bool:
        """Whether theirs stands the other way round; A and B do not."""
        height = self.rows.stop - self.rows.start
        probe = torch.empty(height, height + 1, device="meta")
        return self.change is not None and self.change.write(probe).shape == (height + 1, height)

    def to_theirs(self, rows: Tensor) -> Tensor:
        """Bring what belongs to rows of ours, (rows, …), into the order of theirs."""
        return rows if self.change is None or self.turned else self.change.write(rows)

    def to_ours(self, rows: Tensor) -> Tensor:
        """The same backwards."""
        return rows if self.change is None or self.turned else self.change.read(rows)


def write_peft(
    network: nn.Module, pairs: Iterable[Pair], folder: Path, *, base: str, prefix: str = ""
) -> None:
    """Write a network's adapters so that PEFT puts them on the `base`, a folder or name, that it was imported from.

    `prefix` is what their names begin with in `pairs`, and not where the bare network is opened.
    Raises ValueError naming a matrix that the other library does not have.
    """
    places, found = _places(pairs, network), dict[str, Low]()
    for matrix, adapter in adapted(network):
        if matrix.name not in places:
            raise ValueError(
                f"{matrix.name}: has no name in the other library; leave it out of adapter.targets"
            )
        found |= _written(matrix, adapter, places[matrix.name])
    settings = next(adapter.config for _, adapter in adapted(network))
    every = [place for several in places.values() for place in several]
    found = {name.removeprefix(prefix): low for name, low in found.items()}
    ranks = {name: len(low.down) for name, low in found.items()}
    task = None if isinstance(network, Encoder) else "CAUSAL_LM"
    task = "SEQ_2_SEQ_LM" if isinstance(network, SourceModel) else task
    plain = write_settings(
        settings, ranks, [place.name.removeprefix(prefix) for place in every], base=base, task=task
    )
    plain["fan_in_fan_out"] = any(place.turned for place in every)
    write_bytes(folder / WEIGHTS, save(dict(_tensors(found)), metadata={"format": "pt"}))
    write_json(folder / CONFIG, plain)


def read_peft(network: nn.Module, pairs: Iterable[Pair], folder: Path, *, prefix: str = "") -> LoraConfig:
    """Put the adapters that PEFT wrote on a network, which is then frozen; returns how they are said in a recipe.

    `prefix` is what names begin with in `pairs`, and not where the adapters were made for the bare network.
    Raises ValueError naming the setting or tensor that rootlm has no place for, or that belongs to another base.
    """
    settings = read_settings(read_json(folder / CONFIG), folder / CONFIG)
    lows, places = _lows(read_weights(folder / WEIGHTS), folder / WEIGHTS), _places(pairs, network)
    if not any(name.startswith(prefix) for name in lows):
        lows = {prefix + name: low for name, low in lows.items()}
    where = {
        place.name: (name, number) for name, several in places.items() for number, place in enumerate(several)
    }
    for name in lows:
        if name not in where:
            raise ValueError(
                f"{folder / WEIGHTS}: {name} is no matrix of this base; name the base it was made for"
            )
    chosen: dict[str, list[int]] = {}
    for name in sorted(lows, key=lambda one: where[one]):
        ours, number = where[name]
        chosen.setdefault(ours, []).append(number)
    numbers = {ours: tuple(parts) if len(places[ours]) > 1 else () for ours, parts in chosen.items()}
    ranks = {name: len(low.down) for name, low in lows.items()}
    config = settings.config(ranks, targets_of(network, numbers))
    adapt(network, config)
    for matrix, adapter in adapted(network):
        own = [places[matrix.name][number] for number in chosen[matrix.name]]
        for place in own:
            _check(lows[place.name], place, adapter, folder / WEIGHTS)
        scales = [settings.scale_of(place.name, len(lows[place.name].down)) / config.scale for place in own]
        _fill(adapter, [(place, lows[place.name]) for place in own], scales)
    return config


def _places(pairs: Iterable[Pair], network: nn.Module) -> dict[str, list[_Place]]:
    """Return where their matrices lie in each of ours, by its name."""
    rows = {f"{one.name}.weight": len(one.weight) for one in matrices(network)}
    return {
        pair.ours.removesuffix(".weight"): [
            _Place(name.removesuffix(".weight"), slice(*span), pair.change)
            for name, span in zip(
                pair.theirs, pairwise([0, *accumulate(pair.heights or (rows[pair.ours],))]), strict=True
            )
        ]
        for pair in pairs
        if pair.ours in rows
    }


def _written(matrix: Matrix, adapter: LowRank, places: Sequence[_Place]) -> dict[str, Low]:
    """Return what PEFT keeps of an adapter of ours, by their names."""
    rank, found = adapter.config.rank, {}
    edges = [0, *accumulate(adapter.heights)]
    spans = [(edges[part], edges[part + 1]) for part in adapter.chosen]
    own = [last - first for first, last in spans]
    downs, ups = torch.split(adapter.down.detach(), rank), torch.split(adapter.up.detach(), own)
    lengths = torch.linalg.vector_norm(matrix.weight.detach(), dim=1)
    if adapter.magnitude is not None:
        for span, kept in zip(spans, torch.split(adapter.magnitude.detach(), own), strict=True):
            lengths[slice(*span)] = kept
    for place in places:
        first, last = place.rows.start, place.rows.stop
        within = [number for number, (a, b) in enumerate(spans) if a < last and b > first]
        if not within:
            continue
        up = torch.zeros(last - first, len(within) * rank, dtype=ups[0].dtype)
        for column, number in enumerate(within):
            start, stop = max(spans[number][0], first), min(spans[number][1], last)
            rows = ups[number][start - spans[number][0] : stop - spans[number][0]]
            up[start - first : stop - first, column * rank : (column + 1) * rank] = rows
        down = torch.cat([downs[number] for number in within])
        magnitude = place.to_theirs(lengths[place.rows, None])[:, 0] if adapter.config.decomposed else None
        found[place.name] = Low(down, place.to_theirs(up), magnitude)
    return found


def _fill(adapter: LowRank, parts: Sequence[tuple[_Place, Low]], scales: Sequence[float]) -> None:
    """Lay what PEFT kept into an adapter; a smaller rank is filled up with zeros, another scale goes into B."""
    rank, downs, ups = adapter.config.rank, [], []
    for (place, low), scale in zip(parts, scales, strict=True):
        missing = rank - len(low.down)
        downs.append(nn.functional.pad(low.down, (0, 0, 0, missing)))
        up = place.to_ours(low.up)
        ups.append(nn.functional.pad(up if scale == 1 else up * scale, (0, missing)))
    adapter.down = nn.Parameter(torch.cat(downs))
    adapter.up = nn.Parameter(torch.cat(ups))
    if adapter.magnitude is not None:
        lengths = [
            place.to_ours(low.magnitude[:, None])[:, 0] for place, low in parts if low.magnitude is not None
        ]
        adapter.magnitude = nn.Parameter(torch.cat(lengths))


_PREFIX = "base_model.model."
_NAME = re.compile(r"^base_model\.model\.(.+)\.lora_(A\.weight|B\.weight|magnitude_vector(?:\.weight)?)$")


def _tensors(found: Mapping[str, Low]) -> Iterator[tuple[str, Tensor]]:
    for name, low in found.items():
        yield f"{_PREFIX}{name}.lora_A.weight", low.down.cpu().clone()
        yield f"{_PREFIX}{name}.lora_B.weight", low.up.cpu().contiguous()
        if low.magnitude is not None:
            yield f"{_PREFIX}{name}.lora_magnitude_vector", low.magnitude.cpu().contiguous()


def _lows(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Low]:
    held: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _NAME.match(name)
        if match is None:
            raise ValueError(
                f"{file}: holds {name}, which is no LoRA of a matrix; rootlm has no place for it"
            )
        held.setdefault(match[1], {})[match[2].partition(".")[0]] = tensor
    for name, parts in held.items():
        missing = {"A", "B"} - parts.keys()
        if missing:
            raise ValueError(
                f"{file}: holds no {_PREFIX}{name}.lora_{min(missing)}.weight; copy the file again"
            )
    return {name: Low(p["A"], p["B"], p.get("magnitude_vector")) for name, p in held.items()}


def _check(low: Low, place: _Place, adapter: LowRank, file: Path) -> None:
    """Raise ValueError where the shapes are another matrix's."""
    rows, width = place.rows.stop - place.rows.start, adapter.down.shape[1]
    rank = len(low.down)
    wanted: dict[str, tuple[Tensor | None, tuple[int, ...]]] = {
        "lora_A": (low.down, (rank, width)),
        "lora_B": (low.up, (rows, rank)),
    }
    if adapter.config.decomposed:
        wanted["lora_magnitude_vector"] = (low.magnitude, (rows,))
    for name, (tensor, shape) in wanted.items():
        found: Any = None if tensor is None else tuple(tensor.shape)
        if found != shape:
            raise ValueError(
                f"{file}: {place.name}.{name} is {found}, the base needs {shape}; name the base it was made for"
            )
