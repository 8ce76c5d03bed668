"""Where the text comes from: paths with a name, a licence and an origin, and the files they stand for."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rootlm.core.config import Config
from rootlm.core.files import sha256
from rootlm.text.faults import Notice
from rootlm.text.rawfile import PACKED, shown, suffix
from rootlm.text.read import READERS
from rootlm.text.readers.hub_dataset import HUB, hub_files, saved_files
from rootlm.text.reading import Reading


class Source(Config):
    """One origin of text: a file, a folder (all files below it), a glob such as `news/**/*.jsonl.gz`, or a dataset."""

    path: str
    """A file, a folder or a glob, seen from the folder the command runs in; a folder that `datasets` saved; or
    `hf://owner/name[/config][:split]` (extra `datasets`)."""
    name: str | None = None
    """What tables and the manifest call it; null: the name of the file or folder."""
    licence: str = "unknown"
    """The licence of the text, written to the manifest."""
    origin: str = "unknown"
    """Where the text was obtained, written to the manifest."""
    sample: Annotated[float, Field(ge=0, le=100)] = 1.0
    """How often each training document is taken: 0.5 keeps half of them, 3 repeats each three times."""
    read: Reading | None = None
    """How its files are read; null: as the corpus's `read` says."""


@dataclass(frozen=True)
class Origin:
    """A source whose files were found: its name, its files in order, a digest of their contents."""

    name: str
    source: Source
    files: tuple[Path, ...]
    sums: tuple[str, ...]
    """The SHA-256 of each file."""
    bytes: int
    sha256: str


def find(sources: Sequence[Source], exclude: Path, notice: Notice) -> list[Origin]:
    """Find the files of every source, sorted; files below `exclude` and hidden ones are passed over.

    Raises ValueError for a path that does not exist, a source without a readable file, or a name used twice.
    """
    if not sources:
        raise ValueError("no text given; name files or folders, or set sources in the recipe")
    origins: list[Origin] = []
    for name, source in zip(_names(sources), sources, strict=True):
        try:
            files = tuple(_files(source, exclude.absolute(), notice))
            sums = tuple(sha256(file) for file in files)
            digest = hashlib.sha256("".join(sums).encode()).hexdigest()
            size = sum(file.stat().st_size for file in files)
        except OSError as error:
            place = shown(error.filename or source.path)
            raise ValueError(
                f"{place}: cannot be read ({error.strerror}); give yourself access or leave it out"
            ) from error
        origins.append(Origin(name, source, files, sums, size, digest))
    return origins


def _names(sources: Sequence[Source]) -> Iterator[str]:
    used: Counter[str] = Counter()
    for source in sources:
        path = (
            source.path.removeprefix(HUB).replace("/", "-").replace(":", "-")
            if _is_hub(source)
            else source.path
        )
        plain = [part for part in Path(path).parts if not glob.has_magic(part)]
        last = plain[-1] if plain else path
        name = source.name or Path(last).absolute().name.partition(".")[0] or last
        used[name] += 1
        if used[name] > 1 and source.name:
            raise ValueError(f"{source.path}: two sources are named {name}; give each its own name")
        yield name if used[name] == 1 else f"{name}-{used[name]}"


def _files(source: Source, exclude: Path, notice: Notice) -> Iterator[Path]:
    if _is_hub(source):
        yield from hub_files(source.path)
        return
    path = Path(source.path)
    if path.is_file():
        yield path
        return
    saved = saved_files(path) if path.is_dir() else None
    if saved is not None:
        notice(
            f"{shown(path)}: a saved dataset; all of its splits are read (name one of its folders to read one)"
        )
        yield from saved
        return
    if path.is_dir():
        found = list(_walk(path, exclude))
    elif glob.has_magic(source.path):
        below = Path(path.anchor)
        found = sorted(file for file in below.glob(str(path.relative_to(below))) if file.is_file())
    else:
        raise ValueError(f"{shown(path)}: no such file or folder; name a file, a folder or a glob")
    known = [file for file in found if suffix(file) in READERS]
    others = Counter(suffix(file) or "no suffix" for file in found if suffix(file) not in READERS)
    if others:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(others.items()))
        notice(f"{shown(path)}: passed over {sum(others.values())} files that have no reader ({kinds})")
    if not known:
        raise ValueError(
            f"{shown(path)}: holds no file that can be read; known: {', '.join(READERS)}, "
            f"packed or not ({', '.join(PACKED)})"
        )
    yield from known


def _is_hub(source: Source) -> bool:
    return source.path.startswith(HUB)


def _walk(folder: Path, exclude: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and Path(parent, name).absolute() != exclude
        )
        for name in sorted(names):
            file = Path(parent, name)
            if not name.startswith(".") and file.is_file():
                yield file
