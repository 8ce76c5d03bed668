"""From files of raw text to a corpus: read, treat, find duplicates, split, write."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import orjson

from rootlm import __version__
from rootlm.core.config import Plain
from rootlm.core.files import MANIFEST, new_folder, require_space, write_json
from rootlm.core.machine import usable_cores
from rootlm.text import account
from rootlm.text.copies import duplicates, repeats
from rootlm.text.corpus import Corpus
from rootlm.text.corpus_place import bring_back, clear, reserved
from rootlm.text.corpus_refusals import (
    refuse_idle_cutting,
    refuse_no_group,
    refuse_no_label,
    refuse_nothing,
    refuse_too_many,
)
from rootlm.text.pipeline.leaf import Leaf, merged_faults
from rootlm.text.pipeline.plan import PIECE_BYTES, Piece, Span, plan
from rootlm.text.pipeline.pool import Engine, Local
from rootlm.text.pipeline.ray_engine import RayData
from rootlm.text.pipeline.work import Job, lay_down, told_by, treat_piece
from rootlm.text.publish import SAMPLING, STEP, decide, leaks, publish, write_dropped
from rootlm.text.raw.faults import Notice
from rootlm.text.raw.rawfile import PACKED, suffix
from rootlm.text.settings import Prepare
from rootlm.text.sources import Origin, Source, find
from rootlm.text.tally import Tally

_SERIAL_BYTES = 16_000_000
_PACKED_GROWTH = 4
_PACKING_KINDS = (".zip", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".epub", ".docx", ".parquet")
_NOTICE_SECONDS = 10.0
_OWN_MEGABYTES, _WORKER_MEGABYTES = 200, 200
_SORTING_SHARE = 0.25


Where = Literal["local", "ray"]


def prepare(
    settings: Prepare,
    folder: Path,
    notice: Notice = lambda _: None,
    overwrite: bool = False,
    *,
    engine: Where = "local",
) -> Corpus:
    """Make the corpus in `folder`, or open it when it was made from the same text with the same settings.

    The folder is whole or absent. Interrupted, the same call goes on from the pieces that were finished. Raises
    ValueError for bad input, naming place and remedy, and when the folder holds something else: another corpus is
    replaced with `overwrite`, other files never are. Every engine writes the same bytes.
    """
    settings = settings.merged()
    bring_back(folder)
    origins = find(settings.sources, folder, notice)
    made = _already_made(settings, origins, folder, overwrite)
    if made is not None:
        notice(f"{folder}: already prepared from the same text with the same settings; nothing to do")
        clear(folder)
        return made
    size = sum(origin.bytes * (_PACKED_GROWTH if _is_packed(origin) else 1) for origin in origins)
    require_space(folder, size)
    with reserved(folder):
        # Another process may have made it meanwhile.
        made = _already_made(settings, origins, folder, overwrite)
        if made is not None:
            return made
        work = folder.with_name(f".{folder.name}.work")
        work.mkdir(parents=True, exist_ok=True)
        workers = _workers(settings, size)
        where = Local(workers) if engine == "local" else RayData(workers)
        with where as place, new_folder(folder) as partial_folder:
            _make(settings, origins, (partial_folder, work.absolute()), place, notice)
        shutil.rmtree(work)
    return Corpus.open(folder)


def _make(
    settings: Prepare, origins: Sequence[Origin], folders: tuple[Path, Path], engine: Engine, notice: Notice
) -> None:
    folder, work = folders
    if settings.augment:
        settings.augment.build()  # what is missing is said before the work begins
    refuse_idle_cutting(settings, origins)
    notice(_announce(settings, origins, engine.workers))
    leaves, owners = _treated(settings, origins, work, engine, notice)
    refuse_no_label(settings, leaves)
    refuse_no_group(settings, leaves)
    sorting = int(settings.memory_megabytes * 1e6 * _SORTING_SHARE / engine.workers)
    leaves = repeats.apply(leaves, settings.repeats, settings.model_dump_json(), engine, work, memory=sorting)
    tally = Tally()
    for leaf in leaves:
        tally.add(leaf.tally)
    for reason, (count, examples) in merged_faults(leaves)[1].items():
        tally.fault(reason, count, examples)
    documents = sum(map(len, leaves))
    refuse_nothing(tally, documents, settings)
    refuse_too_many(documents, settings)
    notice(f"read {tally.read:,} documents; looking for duplicates among {documents:,}")
    groups = duplicates.find(leaves, settings.duplicates, engine, work, sorting)
    rules, sources = (settings.duplicates, settings.split), [origin.source for origin in origins]
    decided = decide(leaves, owners, groups, rules, sources)
    leaking = leaks(groups, decided.fates)
    _say_leaks(len(leaking), sources, notice)
    published = publish(
        folders,
        leaves,
        decided,
        groups,
        tally,
        engine=engine,
        shard_bytes=settings.shard_bytes,
        augment=settings.augment,
    )
    write_dropped(folder, tally)
    sampling = [SAMPLING] if any(source.sample != 1 for source in sources) else []
    names = ["read", *settings.step_names, *settings.repeats.names, STEP, *sampling]
    manifest = {
        **account.identity(settings.recorded(), origins),
        "steps": tally.steps(names),
        "leaks": len(leaking),
        "personal_data": tally.personal_data(),
        **account.sizes(leaves, owners, decided, origins, published),
    }
    write_json(folder / MANIFEST, manifest)


def _treated(
    settings: Prepare, origins: Sequence[Origin], work: Path, engine: Engine, notice: Notice
) -> tuple[list[Leaf], list[int]]:
    """Have every piece treated; returns their leaves, in order, and the number of each one's source."""
    text = settings.model_dump_json()
    treating = settings.treating()  # once: it reads the lists that steps read
    jobs = [_job(settings, treating, origins, piece, work) for piece in plan(origins, settings.read)]
    bulky = [job for job in jobs if _is_bulky(job.piece)]
    laid = dict(zip((job.folder for job in bulky), engine.run(partial(lay_down, text), bulky), strict=True))
    leaves, owners, todo = list[Leaf](), list[int](), list[Job]()
    for job in jobs:
        own = [job]
        if job.folder in laid:
            leaves.append(told_by(Path(job.folder)))
            for said in leaves[-1].summary["notices"]:
                notice(said)
            owners.append(job.piece.origin)
            own = [
                _job(settings, treating, origins, part, work)
                for part in _laid_pieces(job.piece, laid[job.folder])
            ]
        todo += own
        leaves += [Leaf(Path(part.folder)) for part in own]
        owners += [part.piece.origin for part in own]
    _treat_all(text, todo, engine, notice)
    return leaves, owners


def _treat_all(settings: str, jobs: Sequence[Job], engine: Engine, notice: Notice) -> None:
    """Do what is not done yet, and say how far it is."""
    missing = [job for job in jobs if not Leaf(Path(job.folder)).is_there]
    if len(missing) < len(jobs):
        notice(f"goes on: {len(jobs) - len(missing):,} of {len(jobs):,} pieces were finished before")
    spoke = time.monotonic()
    for done, _ in enumerate(engine.run(partial(treat_piece, settings), missing), 1):
        for said in Leaf(Path(missing[done - 1].folder)).summary["notices"]:
            notice(said)
        if time.monotonic() - spoke > _NOTICE_SECONDS:
            spoke = time.monotonic()
            notice(f"treated {done:,} of {len(missing):,} pieces so far")


def _job(settings: Prepare, treating: Plain, origins: Sequence[Origin], piece: Piece, work: Path) -> Job:
    origin = origins[piece.origin]
    reading = origin.source.read or settings.read
    decisive = [treating, reading.model_dump(mode="json"), origin.name, __version__]
    key = piece.key(orjson.dumps(decisive, option=orjson.OPT_SORT_KEYS).decode())
    return Job(piece, reading, origin.name, str(work / "leaves" / key), str(Path.cwd()))


def _is_bulky(piece: Piece) -> bool:
    """Say whether a piece is one file, too large for one process, that could not be cut unread."""
    if len(piece.spans) > 1 or piece.spans[0].end is not None:
        return False
    file = Path(piece.spans[0].path)
    is_packed = file.suffix in PACKED or suffix(file) in _PACKING_KINDS
    return file.stat().st_size > (PIECE_BYTES // 2 if is_packed else 2 * PIECE_BYTES)


def _laid_pieces(piece: Piece, files: Sequence[str]) -> list[Piece]:
    return [Piece(piece.origin, (Span(file, piece.spans[0].sha256),)) for file in files]


def _workers(settings: Prepare, size: int) -> int:
    """Return how many processes to start: as many as there are cores and as memory allows."""
    if settings.workers is not None:
        return settings.workers
    allowed = (settings.memory_megabytes - _OWN_MEGABYTES) // _WORKER_MEGABYTES
    return max(1, min(usable_cores(), allowed)) if size >= _SERIAL_BYTES else 1


def _already_made(
    settings: Prepare, origins: Sequence[Origin], folder: Path, overwrite: bool
) -> Corpus | None:
    """Return the corpus in `folder` if it is the one asked for; refuse to replace anything else unasked."""
    if not folder.exists() or (folder.is_dir() and all(file.name == ".lock" for file in folder.iterdir())):
        return None
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{folder}: exists and is no corpus; choose another folder for out")
    corpus = Corpus.open(folder)
    differences = account.differences(corpus.manifest, account.identity(settings.recorded(), origins))
    if not differences:
        return corpus
    if overwrite:
        return None
    raise ValueError(
        f"{folder}: holds a corpus made from other {' and other '.join(differences)}; "
        "set overwrite=true to replace it, or choose another folder for out"
    )


def _announce(settings: Prepare, origins: Sequence[Origin], workers: int) -> str:
    files = [file for origin in origins for file in origin.files]
    size = sum(origin.bytes for origin in origins)
    text = (
        f"reading {len(files):,} file{'s' if len(files) != 1 else ''}, {size / 1e6:,.1f} MB, in {workers} process"
        + ("es" if workers > 1 else "")
    )
    if any(".txt" in file.suffixes for file in files):
        text += f"; .txt: one document per {settings.read.documents} (read.documents=file|line|paragraph)"
    if settings.read.max_document_characters:
        text += (
            f"; longer documents are cut at {settings.read.max_document_characters:,} characters "
            "(read.max_document_characters=null keeps them whole)"
        )
    return text


def _say_leaks(count: int, sources: Sequence[Source], notice: Notice) -> None:
    """Say how many documents stand, or nearly stand, in another split too; only splits that were given may leak."""
    if not count:
        notice("leak check: 0 documents of validation and test are, or nearly are, in the training split")
        return
    assert any(source.split for source in sources), f"{count} documents share a cluster with another split"
    notice(
        f"leak check: {count:,} documents are, or nearly are, in two splits, as their sources name them; "
        "duplicates.drop_exact=true and drop_near=true leave out the later ones"
    )


def _is_packed(origin: Origin) -> bool:
    return any(file.suffix in PACKED or suffix(file) in _PACKING_KINDS for file in origin.files)
