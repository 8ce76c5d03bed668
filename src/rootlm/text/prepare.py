"""From files of raw text to a corpus: read, treat, find duplicates, split, write."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from rootlm.core.config import Config, to_plain
from rootlm.core.files import MANIFEST, locked, new_folder, require_space, write_json
from rootlm.core.machine import usable_cores
from rootlm.text import account
from rootlm.text.corpus import Corpus
from rootlm.text.duplicates import DuplicateFinder, Duplicates
from rootlm.text.faults import Faults, Notice
from rootlm.text.gather import Gathered, Part, gather, parts
from rootlm.text.language import Language
from rootlm.text.normalise import Normalise
from rootlm.text.pool import ordered
from rootlm.text.publish import STEP, decide, publish, write_dropped
from rootlm.text.quality import Quality
from rootlm.text.rawfile import PACKED
from rootlm.text.reading import Reading
from rootlm.text.repair import Repair
from rootlm.text.shards import packed_writer
from rootlm.text.sources import Origin, Source, find
from rootlm.text.split import Split
from rootlm.text.treatment import Treated, Treatment, treat

_SERIAL_BYTES = 16_000_000
_SPOOL, _SPOOL_LEVEL = "spool.zst", 1
_SIGNATURES = "signatures"
_PACKED_GROWTH = 4


class Prepare(Config):
    """What becomes of raw text. A step that is null is left out."""

    sources: tuple[Source, ...] = ()
    """Where the text comes from: files, folders or globs, each with name, licence and origin."""
    read: Reading = Reading()
    """How files become documents."""
    repair: Repair | None = Repair()
    """Undo wrong decoding, entities and control characters; Chinese punctuation stays."""
    normalise: Normalise | None = Normalise()
    """Write the same text in one way: NFC, line ends, spaces, blank lines."""
    language: Language | None = Language()
    """Tell the language; keep those that are wanted."""
    quality: Quality | None = Quality()
    """Drop what is hardly text."""
    duplicates: Duplicates = Duplicates()
    """Drop what was read before."""
    split: Split = Split()
    """Hold out documents for validation and test."""
    shard_bytes: Annotated[int, Field(gt=0)] = 64_000_000
    """Size of one file of the corpus before packing."""
    workers: Annotated[int, Field(gt=0)] | None = None
    """Processes that treat documents; null: all cores, one for less than 16 MB. The result is the same."""

    def treatment(self) -> Treatment:
        """Return the steps that a document passes by itself."""
        rewrites = {"repair": self.repair, "normalise": self.normalise}
        labels = {"language": self.language.label()} if self.language else {}
        rules = {"language": self.language, "quality": self.quality}
        return Treatment(
            {name: step.build() for name, step in rewrites.items() if step},
            labels,
            {name: step.build() for name, step in rules.items() if step},
        )


def prepare(
    settings: Prepare, folder: Path, notice: Notice = lambda _: None, overwrite: bool = False
) -> Corpus:
    """Make the corpus in `folder`, or open it when it was made from the same text with the same settings.

    The folder is whole or absent. Raises ValueError for bad input, naming place and remedy, and when the
    folder holds something else: another corpus is replaced with `overwrite`, other files never are.
    """
    origins = find(settings.sources, folder, notice)
    made = _already_made(settings, origins, folder, overwrite)
    if made is not None:
        notice(f"{folder}: already prepared from the same text with the same settings; nothing to do")
        return made
    size = sum(origin.bytes * (_PACKED_GROWTH if _is_packed(origin) else 1) for origin in origins)
    require_space(folder, size)
    with _reserved(folder), new_folder(folder) as partial_folder:
        _make(settings, origins, partial_folder, size, notice)
    return Corpus.open(folder)


def _make(settings: Prepare, origins: Sequence[Origin], folder: Path, size: int, notice: Notice) -> None:
    faults = [Faults((origin.source.read or settings.read).on_error, notice) for origin in origins]
    workers = settings.workers or (usable_cores() if size >= _SERIAL_BYTES else 1)
    notice(_announce(settings, origins, workers))
    spool = folder / _SPOOL
    with DuplicateFinder(folder / _SIGNATURES, settings.duplicates) as finder:
        treated = ordered(
            partial(_treat_part, settings.model_dump_json()), parts(origins, settings.read, faults), workers
        )
        with packed_writer(spool, _SPOOL_LEVEL) as stream, contextlib.closing(treated):
            gathered = gather(treated, stream, finder, notice)
        _count_faults(gathered, faults)
        _refuse_nothing(gathered, settings)
        notice(
            f"read {gathered.tally.read:,} documents; looking for duplicates among {len(gathered.bytes):,}"
        )
        groups = finder.find()
    fates = decide(gathered, groups, settings.duplicates, settings.split)
    shards = publish(
        folder, spool, fates=fates, groups=groups, gathered=gathered, shard_bytes=settings.shard_bytes
    )
    spool.unlink()
    write_dropped(folder, gathered.tally)
    names = ["read", *settings.treatment().names, STEP]
    manifest = {
        **account.identity(_recorded(settings), origins),
        "steps": gathered.tally.steps(names),
        **account.sizes(gathered, fates, origins, faults, shards),
    }
    write_json(folder / MANIFEST, manifest)


@cache
def _treatment(settings: str) -> tuple[Treatment, int]:
    """Return the steps and the length of a signature; made once in every process."""
    prepare = Prepare.model_validate_json(settings)
    return prepare.treatment(), prepare.duplicates.hashes


def _treat_part(settings: str, part: Part) -> tuple[int, Treated]:
    treatment, hashes = _treatment(settings)
    return part.origin, treat(treatment, part.documents, part.collection, hashes)


def _recorded(settings: Prepare) -> dict[str, Any]:
    """Return the settings that make a difference to the result."""
    return {name: value for name, value in to_plain(settings).items() if name != "workers"}


def _already_made(
    settings: Prepare, origins: Sequence[Origin], folder: Path, overwrite: bool
) -> Corpus | None:
    """Return the corpus in `folder` if it is the one asked for; refuse to replace anything else unasked."""
    if not folder.exists() or (folder.is_dir() and all(file.name == ".lock" for file in folder.iterdir())):
        return None
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{folder}: exists and is no corpus; choose another folder for out")
    corpus = Corpus.open(folder)
    differences = account.differences(corpus.manifest, account.identity(_recorded(settings), origins))
    if not differences:
        return corpus
    if overwrite:
        return None
    raise ValueError(
        f"{folder}: holds a corpus made from other {' and other '.join(differences)}; "
        "set overwrite=true to replace it, or choose another folder for out"
    )


@contextlib.contextmanager
def _reserved(folder: Path) -> Iterator[None]:
    """Hold the folder for this process, clear what killed ones left, and leave no empty folder behind."""
    with locked(folder):
        try:
            for left in folder.parent.glob(f".{folder.name}.*.partial"):
                shutil.rmtree(left)
            yield
        except BaseException:
            if folder.is_dir() and [file.name for file in folder.iterdir()] == [".lock"]:
                shutil.rmtree(folder)
            raise


def _announce(settings: Prepare, origins: Sequence[Origin], workers: int) -> str:
    files = [file for origin in origins for file in origin.files]
    size = sum(origin.bytes for origin in origins)
    text = f"reading {len(files):,} files, {size / 1e6:,.1f} MB, in {workers} process" + (
        "es" if workers > 1 else ""
    )
    if any(".txt" in file.suffixes for file in files):
        text += f"; .txt: one document per {settings.read.documents} (read.documents=file|line|paragraph)"
    if settings.read.max_document_characters:
        text += (
            f"; longer documents are cut at {settings.read.max_document_characters:,} characters "
            "(read.max_document_characters=null keeps them whole)"
        )
    return text


def _count_faults(gathered: Gathered, faults: Sequence[Faults]) -> None:
    for index, fault in enumerate(faults):
        for reason, count in fault.counts.items():
            gathered.read[index] += count
            gathered.tally.fault(reason, count, fault.examples[reason])


def _refuse_nothing(gathered: Gathered, settings: Prepare) -> None:
    if len(gathered.bytes):
        return
    places = ", ".join(source.path for source in settings.sources[:3])
    if gathered.tally.read == 0:
        raise ValueError(f"{places}: no document found; the files hold nothing but blank lines")
    reasons = ", ".join(
        f"{step}: {reason} ({count})" for (step, reason), count in gathered.tally.dropped.most_common(3)
    )
    raise ValueError(
        f"{places}: nothing is left of {gathered.tally.read:,} documents; {reasons}; "
        "change that step's settings or leave it out with STEP=null"
    )


def _is_packed(origin: Origin) -> bool:
    return any(file.suffix in PACKED for file in origin.files)
