"""The files of Marian's two tokenizers, which a run keeps as they came."""

from __future__ import annotations

import shutil
from pathlib import Path

from rootlm.tokenizers.piece_pair import FILES, is_pair
from rootlm.tokenizers.tokenizer import Tokenizer

PAIR_FILES = "source_and_target"
"""The folder in a run that holds them."""


def pair_of(folder: Path) -> Path | None:
    """Return where a run, or a published folder, has them; None where it has none."""
    return next((place for place in (folder, folder / PAIR_FILES) if is_pair(place)), None)


def copy_pair(source: Path, to: Path) -> None:
    """Copy those that are there."""
    to.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, to / name)


def keep_pair(reader: Tokenizer, run: Path) -> None:
    """Let a run keep the files that its sources' tokenizer was read from, or that lay beside it."""
    if reader.origin is None:
        return
    held = pair_of(reader.origin.parent) or pair_of(reader.origin.parent.parent)
    if held is not None and held != run / PAIR_FILES:
        copy_pair(held, run / PAIR_FILES)
