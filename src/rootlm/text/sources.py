"""Where the text comes from: paths with a name, a licence and an origin, and the files they stand for."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rootlm.core.config import Config
from rootlm.core.files import MANIFEST, sha256
from rootlm.text.raw.faults import Notice
from rootlm.text.raw.rawfile import PACKED, shown, suffix
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.hub_dataset import HUB, hub_files, saved_files
from rootlm.text.readers.read import READERS


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
    target: str | None = None
    """A second file, whose line n says the same as line n of `path` in another language; each pair of lines is a
    document. `read.pair` names the two languages; null: the suffixes of the two files, such as zh and en."""
    sample: Annotated[float, Field(ge=0, le=100)] = 1.0
    """How often each training document is taken: 0.5 keeps half of them, 3 repeats each three times."""
    split: Literal["train", "validation", "test"] | None = None
    """The split that all its documents belong to, for data whose splits are given; null: they are drawn by `split`."""
    read: Reading | None = None
    """How its files are read; null: as the corpus's `read` says."""


Stamp = tuple[int, int]
"""Size and time of change of a file."""


def stamp_of(file: Path) -> Stamp:
    """Return what tells that a file has changed."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns


@dataclass(frozen=True)
class Origin:
    """A source whose files were found: its name, its files in order, a digest of their contents."""

    name: str
    source: Source
    files: tuple[Path, ...]
    sums: tuple[str, ...]
    """The SHA-256 of each file."""
    stamps: tuple[Stamp, ...]
    """What each file was when its checksum was made."""
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
            files = tuple(_files(source, Path(os.path.realpath(exclude)), notice))
            stamps = tuple(map(stamp_of, files))
            sums = tuple(sha256(file) for file in files)
            digest = hashlib.sha256("".join(sums).encode()).hexdigest()
            size = sum(length for length, _ in stamps)
        except OSError as error:
            place = shown(error.filename or source.path)
            raise ValueError(
                f"{place}: cannot be read ({error.strerror}); give yourself access or leave it out"
            ) from error
        origins.append(Origin(name, source, files, sums, stamps, size, digest))
    return origins


def _names(sources: Sequence[Source]) -> Iterator[str]:
    given = [source.name for source in sources if source.name]
    for name in given:
        if given.count(name) > 1:
            path = [source.path for source in sources if source.name == name][1]
            raise ValueError(f"{path}: two sources are named {name}; give each its own name")
    used = set(given)
    for source in sources:
        path = (
            source.path.removeprefix(HUB).replace("/", "-").replace(":", "-")
            if _is_hub(source)
            else source.path
        )
        plain = [part for part in Path(path).parts if not glob.has_magic(part)]
        last = plain[-1] if plain else path
        name = source.name or Path(last).absolute().name.partition(".")[0] or last
        if source.name is None:
            tried = (name, *(f"{name}-{number}" for number in range(2, len(sources) + 2)))
            name = next(one for one in tried if one not in used)
        used.add(name)
        yield name


def _files(source: Source, exclude: Path, notice: Notice) -> Iterator[Path]:
    if _is_hub(source):
        yield from hub_files(source.path)
        return
    path = Path(source.path)
    if source.target is not None:
        yield from _aligned_files(path, Path(source.target))
        return
    if path.is_file():
        yield path
        return
    if path.is_dir() and Path(os.path.realpath(path)).is_relative_to(exclude):
        raise ValueError(f"{shown(path)}: is where the corpus goes; choose another folder for out")
    if path.is_dir() and _is_corpus(path):
        raise ValueError(
            f"{shown(path)}: is a corpus already, with splits of its own; name the files of one split, "
            f"such as {shown(path)}/train-*.jsonl.zst"
        )
    saved = saved_files(path) if path.is_dir() else None
    if saved is not None:
        notice(
            f"{shown(path)}: a saved dataset; all of its splits are read (name one of its folders to read one)"
        )
        yield from saved
        return
    if path.is_dir():
        found, linked = list(_walk(path, exclude)), list(_linked(path))
        if linked:
            notice(
                f"{shown(path)}: passed over {len(linked)} linked folders, such as {shown(linked[0])}; "
                "name them too if they are to be read"
            )
    elif glob.has_magic(source.path):
        below = Path(path.anchor)
        matched = sorted(file for file in below.glob(str(path.relative_to(below))) if file.is_file())
        found = [file for file in matched if not _is_passed_over(file, exclude)]
    else:
        raise ValueError(f"{shown(path)}: no such file or folder; name a file, a folder or a glob")
    known = [file for file in found if suffix(file) in READERS]
    others = Counter(suffix(file) or "no suffix" for file in found if suffix(file) not in READERS)
    if others:
        kinds = ", ".join(f"{count} × {kind}" for kind, count in sorted(others.items()))
        notice(f"{shown(path)}: passed over what has no reader ({kinds})")
    if not known:
        raise ValueError(
            f"{shown(path)}: holds no file that can be read; known: {', '.join(READERS)}, "
            f"packed or not ({', '.join(PACKED)})"
        )
    yield from known


def _aligned_files(first: Path, second: Path) -> tuple[Path, Path]:
    for path in (first, second):
        if not path.is_file():
            raise ValueError(
                f"{shown(path)}: no such file; two files that are aligned by line are named one by one"
            )
    return first, second


def _is_hub(source: Source) -> bool:
    return source.path.startswith(HUB)


def _is_corpus(folder: Path) -> bool:
    """Say whether a folder holds a corpus that rootlm made."""
    manifest = folder / MANIFEST
    return manifest.is_file() and b'"format": "rootlm corpus' in manifest.read_bytes()


def _is_passed_over(file: Path, exclude: Path) -> bool:
    """Say whether a file is hidden or one of the command's own."""
    hidden = any(part.startswith(".") and part not in (".", "..") for part in file.parts)
    return hidden or Path(os.path.realpath(file)).is_relative_to(exclude)


def _linked(folder: Path) -> Iterator[Path]:
    """Yield the folders that are links, which a walk does not follow: they may lead in circles."""
    for parent, folders, _ in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in folders if Path(parent, name).is_symlink())


def _walk(folder: Path, exclude: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and Path(os.path.realpath(Path(parent, name))) != exclude
        )
        for name in sorted(names):
            file = Path(parent, name)
            if not name.startswith(".") and file.is_file():
                yield file
