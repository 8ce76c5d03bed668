"""Adapters on a whole network: begun on a base, filled from a file, merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from rootlm.layers.adapters import adapt, adapter_tensors, merge
from rootlm.models.adaptation import Adaptation
from rootlm.models.interface import Network


def begin_adapter(network: Network, how: Adaptation, fresh: Iterable[str] = ()) -> None:
    """Give a network fresh adapters; besides them only the `fresh` weights, which its base lacks, are learned.

    Raises ValueError for targets that are not there.
    """
    adapt(network, how.settings)
    every = dict(network.named_parameters())
    for name in fresh:
        every[name].requires_grad_(True)
    network.adaptation = how


def fill_adapter(network: Network, how: Adaptation, held: Mapping[str, Tensor], file: Path) -> None:
    """Give a network the adapters and other weights that a file holds, in the file's types.

    Raises ValueError naming the first that is missing, extra or misshapen.
    """
    adapt(network, how.settings)
    own, every = adapter_tensors(network), dict(network.named_parameters())
    for name in sorted(own.keys() | held.keys()):
        if name not in held:
            raise ValueError(f"{file}: holds no {name}; the file belongs to another adapter")
        if name not in every:
            raise ValueError(
                f"{file}: holds {name}, which the base has no place for; it belongs to another base"
            )
        if held[name].shape != every[name].shape:
            found, wanted = tuple(held[name].shape), tuple(every[name].shape)
            raise ValueError(
                f"{file}: {name} is {found}, the base needs {wanted}; it belongs to another base"
            )
    for name, tensor in held.items():
        before, _, last = name.rpartition(".")
        # A matrix that has adapters beside it keeps its place; a module holds its parameters by their last names.
        setattr(network.get_submodule(before), last, nn.Parameter(tensor.to(every[name].device)))
    network.adaptation = how


def merged(network: Network) -> Network:
    """Put adapters into the weights, in place: a network as if it had been trained whole."""
    merge(network)
    network.adaptation = None
    return network
