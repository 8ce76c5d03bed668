"""Between treating and looking for duplicates: what stands in other documents too is taken out of documents.

A document that loses something passes all steps once more, for it may have become too short. All others stay
byte for byte what they were, and so does a leaf none of whose documents changes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import orjson

from rootlm import __version__
from rootlm.core.files import read_json, write_json
from rootlm.text.copies import repeated_lines, repeated_substrings
from rootlm.text.copies.repeat_settings import Repeats
from rootlm.text.copies.repeated_lines import FoundLines, Spans
from rootlm.text.copies.repeated_substrings import FoundSubstrings
from rootlm.text.document import Document
from rootlm.text.pipeline.leaf import Leaf, write_leaf
from rootlm.text.pipeline.pool import Engine
from rootlm.text.raw.faults import Faults
from rootlm.text.settings import Prepare
from rootlm.text.shards import to_document
from rootlm.text.signature import signatures
from rootlm.text.tally import Tally
from rootlm.text.treatment import RECORD, Treated, Treatment, treat

NOTHING_LEFT = "nothing is left"
_OWN_KEYS = ("collection", "language")
_CHANGED = "changed.json"
_RUN = 2000

Found = FoundLines | FoundSubstrings


def apply(
    leaves: Sequence[Leaf], settings: Repeats, prepare: str, engine: Engine, work: Path, *, memory: int
) -> list[Leaf]:
    """Return the leaves without what repeats, in the same order; nothing asked, they are the same.

    `prepare` are the settings of the preparation as JSON; `memory` is what one worker may take for counting, in
    bytes. What is done lies in `work` and is not done twice. The tally of a new leaf goes on from the old one's:
    a document that is dropped now is told under the step `repeated_lines` or `repeated_substrings`, with the
    step that dropped it and its reason.

    What is kept as the first occurrence is lost when its document is dropped by a later step.
    """
    asked = {"repeated_lines": settings.lines, "repeated_substrings": settings.substrings}
    kept = list(leaves)
    for step, part in asked.items():
        if part is None:
            continue
        folder = work / "repeats" / _key(kept, part.model_dump_json(), prepare)
        if not (folder / _CHANGED).is_file():
            counted = folder / "counted"
            found: Found
            if settings.lines is part:
                found = repeated_lines.find(kept, settings.lines, engine, counted / str(memory), memory)
            else:
                assert settings.substrings is not None
                found = repeated_substrings.find(
                    kept, settings.substrings, engine, counted / str(memory), memory
                )
            tasks = [(index, str(leaf.folder)) for index, leaf in enumerate(kept)]
            changed = list(engine.run(partial(_rewrite, step, found, prepare, str(folder)), tasks))
            write_json(folder / _CHANGED, changed)
            shutil.rmtree(counted)
        kept = [
            Leaf(_new(folder, index)) if changed else leaf
            for index, (leaf, changed) in enumerate(zip(kept, read_json(folder / _CHANGED), strict=True))
        ]
    return kept


def _key(leaves: Sequence[Leaf], part: str, prepare: str) -> str:
    """Return what stands for the result: the same key, the same leaves."""
    names = ["/".join(leaf.folder.parts[-3:]) for leaf in leaves]
    treating = Prepare.model_validate_json(prepare).treating()
    decisive = orjson.dumps([names, part, treating, __version__], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(decisive, digest_size=12).hexdigest()


def _new(folder: Path, index: int) -> Path:
    return folder / "leaves" / f"{index:08d}"


def _rewrite(step: str, found: Found, prepare: str, folder: str, task: tuple[int, str]) -> bool:
    """Write a leaf anew if any of its documents changes; says whether."""
    index, before = task
    old, new = Leaf(Path(before)), Leaf(_new(Path(folder), index))
    if new.is_there:
        return True
    spans = found.spans(index, old)
    cut = _cut(old, found, spans)
    if not cut:
        return False
    settings, treatment = _treatment(prepare)
    faults = Faults("skip")
    faults.encodings.update(old.summary["encodings"])
    for reason, (count, examples) in old.summary["faults"].items():
        faults.counts[reason] = count
        faults.examples[reason] = examples
    parts = _parts(old, step, cut, settings, treatment)
    write_leaf(new.folder, parts, faults, old.summary["notices"], settings.duplicates)
    return True


def _cut(leaf: Leaf, found: Found, spans: Spans) -> dict[int, str]:
    """Return the texts that are other than before, by row."""
    cut: dict[int, str] = {}
    if spans:
        for row, line in enumerate(leaf.lines()):
            if row in spans:
                text = to_document(line).text
                left = found.cut(text, spans[row])
                if left != text:
                    cut[row] = left
    return cut


def _parts(
    leaf: Leaf, step: str, cut: dict[int, str], settings: Prepare, treatment: Treatment
) -> Iterator[Treated]:
    """Yield the documents of a leaf: those that change by themselves, the runs between them as they were."""
    records, languages, strata = leaf.records(), leaf.summary["languages"], leaf.summary["strata"]
    hashes = settings.duplicates.hashes
    yield Treated(b"", np.empty(0, RECORD), [], [], signatures([], hashes), leaf.tally)
    run: list[bytes] = []

    def as_it_was(end: int) -> Treated:
        rows = np.arange(end - len(run), end)
        held = leaf.signatures(rows, hashes) if len(rows) else signatures([], hashes)
        return Treated(b"".join(run), records[rows].copy(), languages, strata, held, Tally())

    for row, line in enumerate(leaf.lines()):
        if row in cut or len(run) == _RUN:
            yield as_it_was(row)
            run = []
        if row in cut:
            yield _again(to_document(line), cut[row], step, settings, treatment)
        else:
            run.append(line)
    yield as_it_was(len(records))


def _again(document: Document, text: str, step: str, settings: Prepare, treatment: Treatment) -> Treated:
    """Treat a document that lost something; it is counted under `step`, whichever step drops it."""
    tally = Tally()
    tally.changed[step] = 1
    hashes = settings.duplicates.hashes
    if not text.strip():
        tally.drop(document, step, NOTHING_LEFT)
        return Treated(b"", np.empty(0, RECORD), [], [], signatures([], hashes), tally)
    meta = {key: value for key, value in document.meta.items() if key not in _OWN_KEYS}
    left = Document(text, document.source, meta)
    collection = str(document.meta["collection"])
    treated = treat(treatment, [left], collection, hashes, settings.split)
    for (name, reason), count in treated.tally.dropped.items():
        tally.count(step, f"{name}: {reason}", count)
    for (name, reason), samples in treated.tally.samples.items():
        tally.samples[step, f"{name}: {reason}"] = samples
    tally.personal += treated.tally.personal
    return treated._replace(tally=tally)


@cache
def _treatment(prepare: str) -> tuple[Prepare, Treatment]:
    """Return the settings and their steps; made once in every process."""
    settings = Prepare.model_validate_json(prepare)
    return settings, settings.treatment()
