"""What duplicates are recognised by: a digest of the exact text, and a MinHash signature of its shingles."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 16
_SEED = 42
_UNWRITTEN = re.compile(r"[\W_]+")
_HAN = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]")

# A Han character says about as much as two letters, so fewer of them make a shingle.
_SHINGLE, _HAN_SHINGLE = 5, 3
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def digest(text: str) -> bytes:
    """Return 16 bytes that are the same for texts that differ in spaces and line ends only."""
    return hashlib.blake2b("".join(text.split()).encode(), digest_size=DIGEST_BYTES).digest()


def signatures(texts: Sequence[str], hashes: int) -> NDArray[np.uint32]:
    """Return the MinHash signatures of texts, of shape (texts, hashes).

    Two signatures agree in about as many places as the texts share shingles (Broder 1997, "On the
    resemblance and containment of documents"). Case, spaces and punctuation do not count.
    """
    from rensa import RMinHash

    if not texts:
        return np.empty((0, hashes), dtype=np.uint32)
    shingled = [shingles(text) for text in texts]
    offsets = np.zeros(len(texts) + 1, dtype=np.uint64)
    np.cumsum([len(one) for one in shingled], out=offsets[1:])
    rows = RMinHash.digest_matrix_from_flat_token_hashes(
        np.concatenate(shingled), offsets, hashes, _SEED
    ).to_rows()
    return np.array(rows, dtype=np.uint32)


def shingles(text: str) -> NDArray[np.uint64]:
    """Return a hash of every run of five letters, or of three characters where a text is mostly Han."""
    letters = _UNWRITTEN.sub("", text).casefold() or text
    width = _HAN_SHINGLE if 2 * len(_HAN.findall(letters)) > len(letters) else _SHINGLE
    codes = np.frombuffer(letters.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    width = min(width, len(codes))
    count = len(codes) - width + 1
    hashes = np.zeros(count, dtype=np.uint64)
    for place in range(width):
        hashes = (hashes ^ codes[place : place + count]) * _MULTIPLIER
        hashes ^= hashes >> np.uint64(29)
    return hashes
