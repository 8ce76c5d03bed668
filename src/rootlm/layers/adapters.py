"""Adapters: put on the matrices of a network by name, taken out of it, merged into its weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from rootlm.layers.linear import Linear
from rootlm.layers.low_rank import LoraConfig, LowRank
from rootlm.layers.recurrent_layer import Recurrent

_PARTS: dict[str, tuple[str, ...]] = {
    "qkv": ("q", "k", "v"),
    "kv": ("k", "v"),
    "up": ("gate", "value"),
    "filters": ("values", "gates"),
}
"""What the parts are called that a matrix of that name stacks."""
_UNUSUAL = ("head", "heads", "router")
_HOLDERS = {"weight": "adapter", "weight_input": "adapter_input", "weight_recurrent": "adapter_recurrent"}


@dataclass(frozen=True)
class Matrix:
    """A matrix that can be adapted: its name, the part of the network that holds it, and under which names."""

    name: str
    host: nn.Module
    attribute: str
    heights: tuple[int, ...]
    """Rows of each part that it stacks; one where it is a single matrix."""

    @property
    def weight(self) -> Tensor:
        """The matrix itself, (rows, width)."""
        weight = getattr(self.host, self.attribute)
        assert isinstance(weight, Tensor)
        return weight

    @property
    def adapter(self) -> LowRank | None:
        """Its adapter, if it has one."""
        held = getattr(self.host, _HOLDERS[self.attribute])
        assert held is None or isinstance(held, LowRank)
        return held

    @property
    def adapter_name(self) -> str:
        """What its adapter is called in the network."""
        before = self.name.removesuffix(f".{self.attribute}")
        return f"{before}.{_HOLDERS[self.attribute]}"

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts, none for a single matrix."""
        if len(self.heights) == 1:
            return ()
        before, _, last = self.name.rpartition(".")
        known = _PARTS.get(last, tuple(f"{last}.{number}" for number in range(len(self.heights))))
        assert len(known) == len(self.heights)
        return tuple(f"{before}.{part}" if before else part for part in known)

    def put(self, adapter: LowRank | None) -> None:
        """Give it an adapter, or none."""
        setattr(self.host, _HOLDERS[self.attribute], adapter)


def matrices(network: nn.Module) -> list[Matrix]:
    """Return every matrix of a network that can be adapted: its linear maps, and what recurrent layers multiply by."""
    found = []
    for name, part in network.named_modules():
        if isinstance(part, Linear):
            found.append(Matrix(name, part, "weight", part.parts or (part.out_features,)))
        elif isinstance(part, Recurrent):
            for attribute in ("weight_input", "weight_recurrent"):
                rows = len(getattr(part, attribute))
                found.append(Matrix(f"{name}.{attribute}", part, attribute, (rows,)))
    return found


def adapted(network: nn.Module) -> list[tuple[Matrix, LowRank]]:
    """Return the matrices of a network that have an adapter, with it."""
    return [(matrix, matrix.adapter) for matrix in matrices(network) if matrix.adapter is not None]


def adapter_tensors(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters of all adapters by their names in the network."""
    return {
        f"{matrix.adapter_name}.{name}": parameter
        for matrix, adapter in adapted(network)
        for name, parameter in adapter.named_parameters()
    }


def is_adapters(name: str) -> bool:
    """Tell whether a parameter of this name belongs to an adapter."""
    return name.rpartition(".")[0].rpartition(".")[2] in _HOLDERS.values()


def adapt(network: nn.Module, config: LoraConfig) -> None:
    """Give the targets of a network fresh adapters and freeze everything else.

    Raises ValueError for a target that is no matrix, or one that an embedding is too.
    """
    chosen = choose(network, config.targets)
    network.requires_grad_(False)
    for matrix, parts in chosen:
        if config.dropout and not isinstance(matrix.host, Linear):
            raise ValueError(
                f"adapter.dropout: {matrix.name} is read whole, with nothing to drop before it; set adapter.dropout=0"
            )
        heights = matrix.heights if parts else (len(matrix.weight),)
        matrix.put(LowRank(config, matrix.weight, heights, parts or (0,)))


def merge(network: nn.Module) -> None:
    """Put what the adapters say into the weights and take them out; everything can then be trained again."""
    for matrix, adapter in adapted(network):
        with torch.no_grad():
            whole = adapter.float().matrix(matrix.weight.float()).to(matrix.weight.dtype)
        setattr(matrix.host, matrix.attribute, nn.Parameter(whole))
        if isinstance(matrix.host, Linear):
            matrix.host.forget_packed()
        matrix.put(None)
    network.requires_grad_(True)


def choose(network: nn.Module, targets: Sequence[str]) -> list[tuple[Matrix, tuple[int, ...]]]:
    """Return the matrices that targets name, each with the numbers of its parts, or none where all of it is meant.

    Raises ValueError for a target that names nothing, or a matrix that is shared.
    """
    every = matrices(network)
    owners = _owners(network)
    if not every:
        raise ValueError("adapter: this model has no matrices that gradients train; leave out adapter")
    if not targets:
        usual = [
            (one, tuple(range(len(one.parts))))
            for one in every
            if not set(_UNUSUAL) & set(one.name.split("."))
        ]
        return [(one, parts) for one, parts in usual if owners[id(one.weight)] == 1]
    for target in targets:
        if not any(_is_named(name, [target]) for one in every for name in (one.name, *one.parts)):
            raise ValueError(f"adapter.targets: {target} is no matrix of this model; it has {_known(every)}")
    chosen = [(one, tuple(_named_parts(one, targets))) for one in every]
    found = [(one, parts) for one, parts in chosen if parts or _is_named(one.name, targets)]
    for one, _ in found:
        if owners[id(one.weight)] > 1:
            raise ValueError(
                f"adapter.targets: {one.name} is the embedding's matrix too, so it could not be merged; "
                "leave it out, or take a base with model.tied=false"
            )
    return found


def targets_of(network: nn.Module, chosen: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the shortest targets that name these matrices, by name, with these parts and nothing else."""
    wanted = {name: set(parts) for name, parts in chosen.items()}
    names = [
        each
        for one in matrices(network)
        if one.name in chosen
        for each in ([one.parts[number] for number in chosen[one.name]] or [one.name])
    ]
    short = list(dict.fromkeys(".".join(name.split(".")[2:]) or name for name in names))
    for targets in (short, names):
        if {one.name: set(parts) for one, parts in choose(network, targets)} == wanted:
            return targets
    raise AssertionError(f"no targets name {sorted(chosen)}")


def _named_parts(one: Matrix, targets: Sequence[str]) -> Iterator[int]:
    if not _is_named(one.name, targets):
        yield from (number for number, part in enumerate(one.parts) if _is_named(part, targets))


def _is_named(name: str, targets: Sequence[str]) -> bool:
    return any(fnmatchcase(name, target) or fnmatchcase(name, f"*.{target}") for target in targets)


def _owners(network: nn.Module) -> dict[int, int]:
    """Return how many parts of a network hold each parameter, by its identity."""
    counts: dict[int, int] = {}
    for part in network.modules():
        for own in part.parameters(recurse=False):
            counts[id(own)] = counts.get(id(own), 0) + 1
    return counts


def _known(every: list[Matrix]) -> str:
    """Return the ends of the names, each once.

    >>> _known(matrices(nn.ModuleDict({"blocks": nn.ModuleList([Linear(2, 4, bias=False, parts=(2, 2))])})))
    'blocks.0 (or its parts blocks.0.0, blocks.0.1)'
    """
    said = {}
    for one in every:
        parts = ", ".join(part.split(".", 2)[-1] if one.name.count(".") > 1 else part for part in one.parts)
        short = one.name.split(".", 2)[-1] if one.name.count(".") > 1 else one.name
        said[short] = f"{short} (or its parts {parts})" if parts else short
    return ", ".join(said.values())
