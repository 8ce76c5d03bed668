"""An even draw from a stream of text that may be far larger than memory."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rootlm.core.files import MANIFEST, read_json
from rootlm.text.corpus import Corpus
from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.read import read
from rootlm.text.sources import Source, find
from rootlm.tokenizers.plain_text import not_text

_PIECE_CHARACTERS = 65_536


def documents(paths: Sequence[Path], split: str) -> Iterator[Document]:
    """Yield the documents of prepared corpora, of which `split` is read, and of files of text, read whole.

    Raises ValueError for a path that is neither, and for a corpus without that split.
    """
    for path in paths:
        if _is_corpus(path):
            yield from Corpus.open(path).documents(split)
            continue
        for origin in find([Source(path=str(path))], path / "out", lambda _: None):
            for file in origin.files:
                yield from read(file, Reading(), Faults("stop"))


def sample(texts: Iterable[str], limit_bytes: int) -> list[str]:
    """Return the texts, or where they are larger than `limit_bytes`, an even draw from them, in order.

    A text is kept when the hash of its place and content is among the smallest: no count of all is needed,
    and the same texts always give the same draw.
    """
    kept: list[tuple[int, int, str, int]] = []
    kept_bytes = 0
    for place, text in enumerate(texts):
        try:
            content = text.encode()
        except UnicodeEncodeError as error:
            raise not_text([text]) from error
        digest = hashlib.blake2b(content, digest_size=8, salt=place.to_bytes(8, "little")).digest()
        heapq.heappush(kept, (-int.from_bytes(digest, "little"), place, text, len(content)))
        kept_bytes += len(content)
        while kept_bytes > limit_bytes and len(kept) > 1:
            kept_bytes -= heapq.heappop(kept)[3]
    return [text for _, _, text, _ in sorted(kept, key=lambda entry: entry[1])]


def pieces(texts: Iterable[str]) -> Iterator[str]:
    """Cut long texts at line ends, so that one huge text is drawn from like many small ones."""
    for text in texts:
        start = 0
        while start < len(text):
            end = start + _PIECE_CHARACTERS
            if end < len(text):
                end = (text.rfind("\n", start, end) + 1) or end
            yield text[start:end]
            start = end


def _is_corpus(path: Path) -> bool:
    manifest = path / MANIFEST
    return manifest.is_file() and "splits" in read_json(manifest)
