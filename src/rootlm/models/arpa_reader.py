"""N-gram models read from ARPA files, as every n-gram tool writes them."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from rootlm.models.arpa_writer import BEGIN, END, UNKNOWN
from rootlm.models.ngram import Ngram
from rootlm.models.ngram_settings import NgramConfig
from rootlm.models.ngram_tables import Tables

_LN10 = math.log(10)
_NEVER = -98.0
"""A log10 below this stands for a probability of 0."""
_UNKNOWN_LOG10 = -100.0
"""What KenLM gives unknown words where a file lacks `<unk>`."""
_HEADER = re.compile(rb"[ \t]*ngram[ \t]+(\d+)[ \t]*=[ \t]*(\d+)[ \t\r]*$")

Logs = NDArray[np.float32]


def read_arpa(path: Path) -> tuple[Ngram, list[str]]:
    """Read an ARPA file, packed or not; returns the model and the word of each id.

    A missing back-off is 0, `\\r\\n` ends a line too, a missing `<unk>` is added with a probability of 10⁻¹⁰⁰, as
    KenLM does, and the suffix of an n-gram that another tool has pruned away is filled in. Raises ValueError naming
    the line that cannot be read, a count that is not what the header says, and a file that was cut.
    """
    data = _read(path)
    counts, place = _header(data, path)
    sections, spans = _sections(data, counts, place, path)
    words = [bytes(data[begin:end]).decode(errors="replace") for begin, end in spans.tolist()]
    for mark in (BEGIN, END):
        if mark not in words:
            raise ValueError(f"{path}: holds no {mark}; a model of sentences needs it, write the file again")
    if UNKNOWN not in words:
        words.append(UNKNOWN)
        ids, logs, backoffs = sections[0]
        more = np.full((1, 1), len(ids), np.int32)
        sections[0] = (
            np.concatenate([ids, more]),
            np.append(logs, np.float32(_UNKNOWN_LOG10)),
            np.append(backoffs, np.float32(0)),
        )
    never = words.index(BEGIN)
    logs = sections[0][1]
    if logs[never] < _NEVER:
        logs[never] = -np.inf
    tables = _grow(_close(sections), path)
    return Ngram(NgramConfig(order=len(sections)), len(words)).take(tables), words


Section = tuple[NDArray[np.int32], Logs, Logs]
"""The n-grams of an order: ids (n, order), log10 of p (NaN where it is to be filled in) and of the back-off."""


def _read(path: Path) -> bytes:
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path) as stream:
                return stream.read()
        return path.read_bytes()
    except EOFError:
        raise ValueError(f"{path}: the packed file was cut; copy it again") from None
    except (gzip.BadGzipFile, FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); give an ARPA file, plain or .gz") from None


def _header(data: bytes, path: Path) -> tuple[list[int], int]:
    """Return how many n-grams of each order the file says it holds, and where the header ends."""
    begin = data.find(b"\\data\\")
    if begin < 0:
        raise ValueError(f"{path}: has no line \\data\\, so it is no ARPA file")
    counts: list[int] = []
    place = data.find(b"\n", begin) + 1
    while place:
        end = data.find(b"\n", place)
        line = data[place : end if end >= 0 else len(data)]
        match = _HEADER.match(line)
        if match is None and line.strip():
            break
        if match is not None:
            if int(match[1]) != len(counts) + 1:
                _fail(path, data, place, f"ngram {len(counts) + 1}=… expected")
            counts.append(int(match[2]))
        if end < 0:
            break
        place = end + 1
    if not counts:
        _fail(path, data, begin, "no line 'ngram 1=…' follows \\data\\")
    return counts, place


def _sections(
    data: bytes, counts: Sequence[int], place: int, path: Path
) -> tuple[list[Section], NDArray[np.int64]]:
    from rootlm.models.arpa_kernel import NO_NUMBER, NO_WORD, TOO_FEW, UNEXPECTED, get_lines

    array = np.frombuffer(data, np.uint8)
    spans = np.zeros((counts[0], 2), np.int64)
    holders = np.full(1 << max(4, (2 * counts[0]).bit_length()), -1, np.int32)
    sections: list[Section] = []
    for order, count in enumerate(counts, 1):
        name = f"\\{order}-grams:"
        while data[place : place + 1].isspace():
            place += 1
        if not data.startswith(name.encode(), place):
            _fail(path, data, place, f"{name} expected")
        place += len(name)
        if count > len(data):
            _fail(path, data, place, f"the header says {count:,} {order}-grams, more than the file can hold")
        ids = np.zeros((count, order), np.int32)
        logs, backoffs = np.zeros(count, np.float32), np.zeros(count, np.float32)
        found, place, wrong = get_lines(array, place, order, spans, holders, ids, logs, backoffs)
        said = {
            NO_NUMBER: f"not a number, {order} words and perhaps a back-off",
            TOO_FEW: f"fewer than {order} words",
            NO_WORD: "a word that is not among the 1-grams",
            UNEXPECTED: f"more {order}-grams than the {count:,} of the header, or a word given twice",
        }
        if wrong:
            _fail(path, data, place, said[wrong])
        if found < count:
            _fail(path, data, place, f"{found:,} {order}-grams, the header says {count:,}")
        sections.append((ids, logs, backoffs))
    if not data.startswith(b"\\end\\", place):
        _fail(path, data, place, "\\end\\ expected")
    return sections, spans


def _fail(path: Path, data: bytes, place: int, what: str) -> NoReturn:
    line = data.count(b"\n", 0, place) + 1
    end = data.find(b"\n", place)
    last = end < 0 or not data[end:].strip()
    remedy = "the file ends here, it was cut; copy it again" if last else "it is damaged; write it again"
    raise ValueError(f"{path}:{line}: {what}; {remedy}")


def _close(sections: list[Section]) -> list[Section]:
    """Add the n-grams without their first words that another tool has left out; their p is to be filled in."""
    closed = list(sections)
    for order in range(len(sections), 2, -1):
        needed = closed[order - 1][0][:, 1:]
        ids, logs, backoffs = closed[order - 2]
        missing = _not_among(needed, ids)
        if len(missing):
            closed[order - 2] = (
                np.concatenate([ids, missing]),
                np.concatenate([logs, np.full(len(missing), np.nan, np.float32)]),
                np.concatenate([backoffs, np.zeros(len(missing), np.float32)]),
            )
    return closed


def _not_among(needed: NDArray[np.int32], ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the distinct rows of `needed` that are not rows of `ids`."""
    kind = np.dtype((np.void, 4 * ids.shape[1]))
    wanted = np.unique(np.ascontiguousarray(needed).view(kind)[:, 0])
    missing = wanted[~np.isin(wanted, np.ascontiguousarray(ids).view(kind)[:, 0])]
    return missing.view(np.int32).reshape(-1, ids.shape[1])


def _grow(sections: Sequence[Section], path: Path) -> Tables:
    """Make the tree, order by order: n-grams sorted by their parent, then by their first word."""
    from rootlm.models.arpa_kernel import find_parents

    sizes = np.asarray([len(ids) for ids, _, _ in sections], np.int64)
    below = int(sizes[:-1].sum())
    words = np.empty(int(sizes.sum()), np.int32)
    logps, starts = np.empty(len(words), np.float32), np.zeros(below + 1, np.int32)
    backoffs = np.zeros(below, np.float32)
    begin = 0
    for order, (ids, logs, costs) in enumerate(sections, 1):
        span = slice(begin, begin + len(ids))
        parents = contexts = np.zeros(len(ids), np.int64)
        if order > 1:
            parents, contexts = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
            find_parents(words, starts, ids, parents, contexts)
        keys = (parents.astype(np.uint64) << np.uint64(32)) | ids[:, 0].astype(np.uint64)
        rank = np.argsort(keys)
        sorted_keys = keys[rank]
        if (sorted_keys[1:] == sorted_keys[:-1]).any():
            raise ValueError(f"{path}: a {order}-gram is listed twice; the file is damaged, write it again")
        words[span], values = ids[rank, 0], logs[rank] * _LN10
        if order > 1:
            above = begin - int(sizes[order - 2])
            starts[above : begin + 1] = begin + np.searchsorted(parents[rank], np.arange(above, begin + 1))
            blank, before = np.isnan(values), contexts[rank]
            spent = np.where(before >= 0, backoffs[np.maximum(before, 0)], 0)
            values = np.where(blank, logps[parents[rank]] + spent, values)
        logps[span] = values
        if order < len(sections):
            backoffs[span] = costs[rank] * _LN10
        begin = span.stop
    starts[-1] = len(words)
    return Tables(sizes, words, starts, logps, backoffs, np.zeros(0, np.float32))
