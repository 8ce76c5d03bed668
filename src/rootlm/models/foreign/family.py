"""A family of published networks: its config and its names, both ways."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    renamed: Sequence[tuple[str, str]] = ()
    """Patterns of names as some files spell them, and what the rules call them."""
    fitted: Callable[[Any, Collection[str]], Any] | None = None
    """Gives our settings the heads that a file has, by its names, where the config does not say which those are."""
    opened_by: Callable[[Any], str] | None = None
    """Names the class for one network, where not all are opened by `architecture`."""
    vocabulary: str = "vocab_size"
    """Their key for how many ids the head says; where it is silent, `vocab_size` tells."""

    def read_config(self, data: Mapping[str, Any], place: str) -> tuple[NetworkConfig, int]:
        """Return our settings and the vocabulary's size; raises ValueError naming the key that is not supported."""
        given = Given(data, place)
        vocab_size = given.whole(self.vocabulary, given.get("vocab_size"))
        try:
            config = self.read(given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            said = first["msg"].removeprefix("Value error, ")
            key = ".".join(map(str, first["loc"]))
            raise ValueError(f"{place}: {f'{key}: ' if key else ''}{said}") from error
        given.finish()
        return config.resolved(), vocab_size

    def write_config(self, config: NetworkConfig, vocab_size: int) -> dict[str, Any]:
        """Return their settings of a network that `holds` says they can describe."""
        return {
            "architectures": [self.class_of(config)],
            "model_type": self.model_type,
            "vocab_size": vocab_size,
            self.vocabulary: vocab_size,
            **self.write(config.resolved()),
        }

    def class_of(self, config: NetworkConfig) -> str:
        """Return the class of theirs that opens a network with all that it has."""
        return self.architecture if self.opened_by is None else self.opened_by(config)

    def names(self, held: Iterable[str]) -> dict[str, str]:
        """Return the names in a file by those that the rules use: with the prefix, as they are spelled today."""
        names = list(held)
        bare = bool(self.prefix) and not any(name.startswith(self.prefix) for name in names)
        found: dict[str, str] = {}
        for name in names:
            today = name
            for pattern, spelled in self.renamed:
                today = re.sub(pattern, spelled, today)
            # What a file holds under both names is one tensor.
            if today == name or today not in names:
                found[self.prefix + today if bare else today] = name
        return found

    def fit(self, config: NetworkConfig, names: Collection[str]) -> NetworkConfig:
        """Return the settings with the heads that a file with these names, as the rules use them, has."""
        made: NetworkConfig = config if self.fitted is None else self.fitted(config, names)
        return made

    def key_map(self, config: NetworkConfig) -> KeyMap:
        """Return the map of names for a network of this size."""
        return KeyMap(self.rules(config), self.counts(config), self.ignored)
