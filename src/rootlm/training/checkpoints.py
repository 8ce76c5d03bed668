"""Checkpoints: whole or absent, checksummed, safetensors and JSON only."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from rootlm.core.files import new_folder, read_json, require_space, verify_folder, write_json
from rootlm.models.catalog import read_weights

MODEL, TRAINER_TENSORS, TRAINER = "model.safetensors", "trainer.safetensors", "trainer.json"
_NAME = re.compile(r"^step-(\d+)$")


@dataclass(frozen=True)
class Checkpoint:
    """All that a run must know to go on: weights, optimizer and random state, and where it stood."""

    model: Mapping[str, Tensor]
    trainer: Mapping[str, Tensor]
    facts: Mapping[str, Any]


class Checkpoints:
    """The folder of a run's checkpoints, `step-N` each; keeps the last `keep` and the best."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        found = (_NAME.match(entry.name) for entry in self.folder.iterdir() if entry.is_dir())
        return sorted(int(match[1]) for match in found if match)

    def save(self, step: int, checkpoint: Checkpoint, best_step: int | None) -> Path:
        """Write a checkpoint, then drop those no longer kept; raises ValueError when the disk is too full."""
        path = self.folder / f"step-{step}"
        size = sum(
            t.numel() * t.element_size()
            for part in (checkpoint.model, checkpoint.trainer)
            for t in part.values()
        )
        require_space(self.folder, int(size * 1.05) + 1_000_000)
        with new_folder(path) as partial:
            _write(checkpoint.model, partial / MODEL)
            _write(checkpoint.trainer, partial / TRAINER_TENSORS)
            write_json(partial / TRAINER, dict(checkpoint.facts))
        for old in self.steps()[: -self.keep]:
            if old != best_step:
                doomed = (self.folder / f"step-{old}").rename(self.folder / f".step-{old}.old")
                shutil.rmtree(doomed)
        return path

    def tidy(self) -> None:
        """Remove what a kill left half written or half removed."""
        for entry in self.folder.glob(".step-*"):
            shutil.rmtree(entry)

    def load(self, step: int) -> Checkpoint:
        """Read a checkpoint after comparing its checksums; raises ValueError naming a torn or edited file."""
        path = self.folder / f"step-{step}"
        try:
            verify_folder(path)
        except ValueError as error:
            earlier = [other for other in self.steps() if other < step]
            remedy = f"go on from step-{earlier[-1]}" if earlier else "begin anew with another out="
            raise ValueError(f"{error}; remove {path} and {remedy}") from None
        return Checkpoint(
            read_weights(path / MODEL), read_weights(path / TRAINER_TENSORS), read_json(path / TRAINER)
        )


def _write(tensors: Mapping[str, Tensor], file: Path) -> None:
    try:
        save_file(dict(tensors), file, metadata={"format": "pt"})
    except SafetensorError as error:
        # The library tells the system's error as text only.
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else 0, str(error), str(file)) from error
