"""What happens to each document by itself, as one function that can run in any process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from rootlm.text.document import Document, Label, Rewrite, Rule
from rootlm.text.personal.redact import Redaction
from rootlm.text.signature import digest, signatures
from rootlm.text.steps.language import UNKNOWN
from rootlm.text.tally import Tally

_OWN_KEYS = ("collection", "language")


class Grouping(Protocol):
    """The keys of meta that a split looks at."""

    @property
    def stratify(self) -> str | None: ...
    @property
    def together(self) -> str | None: ...


class Treated(NamedTuple):
    """Some treated documents: those that are kept as JSON lines, what is known of each, and what was counted."""

    lines: bytes
    records: NDArray[np.void]
    """One `RECORD` for each line; language and stratum are indices into the names that follow."""
    languages: list[str]
    strata: list[str]
    signatures: NDArray[np.uint32]
    tally: Tally


RECORD = np.dtype(
    [
        ("digest", "<u8", 2),
        ("bytes", "<u4"),
        ("characters", "<u4"),
        ("language", "<u2"),
        ("stratum", "<u4"),
        ("together", "<u8"),
    ]
)
"""What is known of a document: digest, length of its text in bytes and characters, language, stratum, and a number
that the documents of one group share, 0 for those of none."""


class Treatment:
    """Rewrites, labels and judges documents one at a time.

    Rewrites run in turn until none changes the text, so that treating twice equals treating once.
    """

    def __init__(
        self, rewrites: Mapping[str, Rewrite], labels: Mapping[str, Label], rules: Mapping[str, Rule]
    ) -> None:
        self._rewrites = rewrites
        self._labels = labels
        self._rules = rules
        self._redactions = [rewrite for rewrite in rewrites.values() if isinstance(rewrite, Redaction)]

    def stream(self, documents: Iterable[Document], tally: Tally) -> Iterator[Document]:
        """Yield the treated documents that are kept, in order, and count into `tally`."""
        for document in documents:
            tally.read += 1
            treated = self._rewritten(document, tally)
            for label in self._labels.values():
                treated = Document(treated.text, treated.source, {**treated.meta, **label(treated)})
            for redaction in self._redactions:
                for kind, count in redaction.take().items():
                    tally.personal[kind, str(treated.meta.get("language", UNKNOWN))] += count
            for name, rule in self._rules.items():
                reason = rule(treated)
                if reason is not None:
                    tally.drop(treated, name, reason)
                    break
            else:
                yield treated

    def _rewritten(self, document: Document, tally: Tally) -> Document:
        text = document.text
        changed: set[str] = set()
        settled = False
        while not settled:
            settled = True
            for name, rewrite in self._rewrites.items():
                better = rewrite(text)
                if better != text:
                    text, settled = better, False
                    changed.add(name)
        tally.changed.update(changed)
        meta = {f"given_{key}" if key in _OWN_KEYS else key: value for key, value in document.meta.items()}
        for redaction in self._redactions:
            meta = {key: redaction.cleaned(value) for key, value in meta.items()}
        return Document(text, document.source, meta)


def treat(
    treatment: Treatment,
    documents: Sequence[Document],
    collection: str,
    hashes: int,
    split: Grouping,
) -> Treated:
    """Treat some documents; `collection` is the name of the source they come from.

    A document's stratum, and the group that it stays with, are what its meta says under two keys of the split.
    """
    tally = Tally()
    kept = list(treatment.stream(documents, tally))
    lines = [_line(document, collection) for document in kept]
    texts = [document.text for document in kept]
    languages, strata = dict[str, int](), dict[str, int]()
    records = np.empty(len(kept), dtype=RECORD)
    records["digest"] = np.frombuffer(b"".join(map(digest, texts)), dtype="<u8").reshape(-1, 2)
    records["bytes"] = [len(text.encode()) for text in texts]
    records["characters"] = [len(text) for text in texts]
    records["language"] = [_code(languages, document.meta.get("language", UNKNOWN)) for document in kept]
    records["stratum"] = [_code(strata, document.meta.get(split.stratify or "", "")) for document in kept]
    records["together"] = [_group(document.meta.get(split.together or "")) for document in kept]
    named = (list(languages), list(strata))
    return Treated(b"".join(lines), records, *named, signatures(texts, hashes), tally)


def _group(name: object) -> int:
    """Return a number for the name of a group; 0 is no group."""
    if name is None:
        return 0
    return int.from_bytes(hashlib.blake2b(str(name).encode(), digest_size=8).digest(), "little") or 1


def _code(names: dict[str, int], name: object) -> int:
    return names.setdefault(str(name), len(names))


def _line(document: Document, collection: str) -> bytes:
    meta = {**document.meta, "collection": collection}
    record = {"text": document.text, "source": document.source, "meta": meta}
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
