"""N-gram models written as ARPA files, the text format that every n-gram tool reads."""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rootlm.core.files import new_file
from rootlm.models.ngram_tables import Tables

if TYPE_CHECKING:
    from rootlm.models.ngram import Ngram

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
THREADS = 2
_NODES_AT_ONCE = 1 << 16
_LN10 = math.log(10)


def write_arpa(model: Ngram, words: Sequence[str], path: Path) -> None:
    """Write a model as ARPA, whole or not at all; packed where the name ends in `.gz`.

    `words` names every id; the marks are called `<s>`, `</s>` and `<unk>`, one that both begins and ends
    `</s>`. Raises ValueError for a word that is empty, holds white space or occurs twice, and for additive smoothing,
    which does not back off.
    """
    tables = model.tables
    if len(tables.floors):
        raise ValueError(
            f"{path}: additive smoothing does not back off, so ARPA cannot hold it; choose another model.smoothing"
        )
    _check_words(words, len(tables.words[tables.span(1)]), path)
    write_tables(tables, [word.encode() for word in words], path)


def write_tables(tables: Tables, words: Sequence[bytes], path: Path) -> None:
    """Write tables as ARPA; `words` are as `write_arpa` checks them."""
    with new_file(path) as plain:
        if path.name.endswith(".gz"):
            with gzip.GzipFile(fileobj=plain, mode="wb", compresslevel=3, mtime=0, filename="") as packed:
                _write(tables, words, packed)
        else:
            _write(tables, words, plain)


def _write(tables: Tables, words: Sequence[bytes], stream: BinaryIO | gzip.GzipFile) -> None:
    begin, end = BEGIN.encode(), END.encode()
    # One mark that both begins and ends a text has two names in ARPA.
    mark = -1 if begin in words or end not in words else list(words).index(end)
    sizes = tables.sizes.tolist()
    sizes[0] += mark >= 0
    head = [f"ngram {order}={size}\n" for order, size in enumerate(sizes, 1)]
    stream.write(("\\data\\\n" + "".join(head)).encode())
    letters = np.frombuffer(b" ".join([*words, begin, b""]), np.uint8)
    ends = np.cumsum([0, *(len(word) + 1 for word in (*words, begin))], dtype=np.int64)
    for order in range(1, tables.order + 1):
        stream.write(f"\n\\{order}-grams:\n".encode())
        if order == 1 and mark >= 0:
            spent = tables.backoffs[mark] / _LN10 if tables.order > 1 else 0.0
            stream.write(b"-99\t%s\t%.7f\n" % (begin, spent))
        for part in _lines(tables, order, mark, (letters, ends)):
            stream.write(part)
    stream.write(b"\n\\end\\\n")


def _lines(
    tables: Tables, order: int, mark: int, names: tuple[NDArray[np.uint8], NDArray[np.int64]]
) -> Iterator[memoryview]:
    """Yield the lines of an order in pieces; threads write the next ones meanwhile."""
    from rootlm.models.arpa_kernel import most_bytes, put_lines

    span, (letters, ends) = tables.span(order), names
    arrays = (tables.words, tables.starts, tables.logps, tables.backoffs)

    def work(begin: int) -> memoryview:
        end = min(begin + _NODES_AT_ONCE, span.stop)
        parents = _ancestors(tables, order, begin)
        room = most_bytes(order, begin, end, parents.copy(), arrays, ends)
        out = np.empty(room, np.uint8)
        return out[: put_lines(order, begin, end, parents, arrays, mark, letters, ends, out)].data

    with ThreadPoolExecutor(THREADS) as threads:
        waiting = []
        for begin in range(span.start, span.stop, _NODES_AT_ONCE):
            waiting.append(threads.submit(work, begin))
            if len(waiting) > 2 * THREADS:
                yield waiting.pop(0).result()
        for one in waiting:
            yield one.result()


def _ancestors(tables: Tables, order: int, node: int) -> NDArray[np.int64]:
    """Return the nodes of the last word, the last two words … of an n-gram, itself last."""
    found = np.empty(order, np.int64)
    found[order - 1] = node
    for level in range(order - 1, 0, -1):
        span = tables.span(level)
        begins = tables.starts[span.start : span.stop]
        found[level - 1] = span.start + int(np.searchsorted(begins, found[level], side="right")) - 1
    return found


def _check_words(words: Sequence[str], vocab_size: int, path: Path) -> None:
    if len(words) != vocab_size:
        raise ValueError(
            f"{path}: {len(words):,} words for a model of {vocab_size:,}; give its own tokenizer's"
        )
    if len(set(words)) != len(words):
        twice = Counter(words).most_common(1)[0][0]
        raise ValueError(f"{path}: two ids are called {twice!r}; ARPA needs a name for each")
    for word in words:
        if not word or word.split() != [word] or (not word.isprintable() and min(word.encode()) <= 32):
            raise ValueError(
                f"{path}: {word!r} cannot be a word of an ARPA file; rename what holds white space"
            )
