"""A model of another library between two files: settings, tensors by name, tokenizer, template."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rootlm.models.foreign.key_map import Outgoing, Tensors


class MadeTensors:
    """Tensors that are at hand, or are made one by one from what is."""

    def __init__(self, parts: Iterable[Outgoing], place: str = "the model") -> None:
        self._parts = {part.name: part for part in parts}
        self._place = place

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], place: str = "the model") -> MadeTensors:
        """Return the tensors of a mapping, such as a state dict."""
        parts = (Outgoing(name, tuple(one.shape), one.dtype, _giver(one)) for name, one in tensors.items())
        return cls(parts, place)

    @property
    def place(self) -> str:
        """Where they lie."""
        return self._place

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor."""
        return {name: part.shape for name, part in self._parts.items()}

    def dtype(self, name: str) -> torch.dtype:
        """Return a tensor's type."""
        return self._parts[name].dtype

    def read(self, name: str) -> Tensor:
        """Make a tensor."""
        return self._parts[name].make()

    def let_go(self, name: str) -> None:
        """Nothing is kept of what was made."""


@dataclass(frozen=True)
class ForeignModel:
    """What a file of another library holds, in the words of Hugging Face."""

    config: Mapping[str, Any]
    """What stands in `config.json`."""
    tensors: Tensors
    """The weights, under the names that `transformers` gives them."""
    tokenizer_json: str | None = None
    """The text of `tokenizer.json`."""
    chat_template: str | None = None
    """How turns become text, in Jinja; it is only ever run in a sandbox."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """What stands in `generation_config.json`: the ids that begin, end and fill, and how to sample."""
    name: str | None = None
    """What the model calls itself."""


def _giver(tensor: Tensor) -> Callable[[], Tensor]:
    return lambda: tensor
