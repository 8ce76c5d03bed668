"""A family of published networks: its config and its names, both ways."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from rootlm.models.foreign.given import Given
from rootlm.models.foreign.key_map import KeyMap, Rule
from rootlm.models.network_config import NetworkConfig


@dataclass(frozen=True)
class Family:
    """What `transformers` calls a model type, and how it becomes one of our networks and back."""

    model_type: str
    """Its name in `config.json`."""
    architecture: str
    """The class that opens it with its head."""
    read: Callable[[Given], NetworkConfig]
    """Reads their settings; those that are read by no one are refused."""
    write: Callable[[Any], dict[str, Any]]
    """Writes their settings, as far as they have them; `writes` compares what comes back."""
    rules: Callable[[Any], list[Rule]]
    """Pairs the names of our tensors and theirs."""
    counts: Callable[[Any], dict[str, int]]
    """How many layers and the like there are, by the words that stand in braces in the rules."""
    kind: type[NetworkConfig]
    """Which of our networks it is."""
    prefix: str = ""
    """What the names of a file begin with, but not those of a file of the bare network."""
    ignored: Sequence[str] = ()
    """Patterns of names that files hold and no equation needs."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Patterns at the end of names that older files have, and what stands there today."""
    held: Callable[[Any, Collection[str]], Any] = lambda config, names: config
    """Settles by the names of a file's tensors what its config leaves open, such as which heads there are."""
    vocabulary: str = "vocab_size"
    """Their key for how many ids the head says; where it is silent, `vocab_size` tells."""

    def read_config(self, data: Mapping[str, Any], place: str) -> tuple[NetworkConfig, int]:
        """Return our settings and the vocabulary's size; raises ValueError naming the key that is not supported."""
        given = Given(data, place)
        vocab_size = given.whole(self.vocabulary, given.get("vocab_size"))
        try:
            config = self.read(given)
        except ValidationError as error:
            said = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"{place}: {said}") from error
        given.finish()
        return config.resolved(), vocab_size

    def write_config(self, config: NetworkConfig, vocab_size: int) -> dict[str, Any]:
        """Return their settings of a network that `holds` says they can describe."""
        return {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            "vocab_size": vocab_size,
            self.vocabulary: vocab_size,
            **self.write(config.resolved()),
        }

    def key_map(self, config: NetworkConfig) -> KeyMap:
        """Return the map of names for a network of this size."""
        return KeyMap(self.rules(config), self.counts(config), self.ignored)
