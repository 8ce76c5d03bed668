"""What an adapted network says of itself on disk: how it was adapted, and its base, by path and checksum."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rootlm.core.config import Config
from rootlm.core.files import sha256
from rootlm.layers.low_rank import LoraConfig


class Base(Config):
    """The network whose weights were frozen."""

    path: str
    """Its folder."""
    sha256: str
    """The checksum of its weights."""

    def found(self, beside: Path) -> Path:
        """Return the folder where it lies: its own path, or one of that name beside the adapter's.

        Raises ValueError when there is none, or when it holds other weights.
        """
        folder = Path(self.path)
        if not folder.is_dir() and (beside.parent / folder.name).is_dir():
            folder = beside.parent / folder.name
        if not folder.is_dir():
            raise ValueError(
                f"{beside}: is an adapter, and its base {self.path} is not there; bring that folder back, or put it "
                f"beside the adapter as {beside.parent / folder.name}"
            )
        now = checksum(folder)
        if now != self.sha256:
            raise ValueError(
                f"{beside}: is an adapter for weights with checksum {self.sha256[:12]}…, {folder} holds {now[:12]}…; "
                "bring the base back that it was trained on"
            )
        return folder


class Adaptation(Config):
    """How a network was adapted."""

    settings: LoraConfig
    """The adapters."""
    base: Base
    """What they change."""


def base_of(folder: Path) -> Base:
    """Return how a folder is named as a base."""
    return Base(path=str(folder.resolve()), sha256=checksum(folder))


def checksum(folder: Path) -> str:
    """Return one checksum of all weights in a folder; raises ValueError when there are none."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder}: holds no weights (*.safetensors), so nothing can be adapted")
    sums = [sha256(file) for file in files]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
