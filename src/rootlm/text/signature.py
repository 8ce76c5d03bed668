"""What duplicates are recognised by: a digest of the exact text, and a MinHash signature of its shingles."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rootlm.text.steps.characters import codes, is_han, is_written, kinds_of

DIGEST_BYTES = 16
_SEED = 42

# A Han character says about as much as two or three letters, so fewer of them make a shingle.
_SHINGLE, _HAN_SHINGLE = 5, 2
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_BAND_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)


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
    flat, counts = shingles(texts)
    offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.uint64)
    rows = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, hashes, _SEED).to_rows()
    return np.array(rows, dtype=np.uint32)


def band_keys(signatures: NDArray[np.uint32], bands: int) -> NDArray[np.uint64]:
    """Return a key for each band of signatures (documents, hashes), (bands, documents): equal bands, equal keys."""
    rows = signatures.shape[1] // bands
    parts = signatures.reshape(len(signatures), bands, rows).astype(np.uint64)
    keys = np.zeros((len(signatures), bands), dtype=np.uint64)
    for row in range(rows):
        keys = (keys ^ parts[:, :, row]) * _BAND_MULTIPLIER
        keys ^= keys >> np.uint64(32)
    return np.ascontiguousarray(keys.T)


def shingles(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the hashes of all shingles, text after text, and how many each text has.

    A shingle is a run of five letters, or of two characters where a text is mostly Han; a shorter text is
    one shingle. A text without letters is taken as it stands.
    """
    folded = [text.casefold() or " " for text in texts]
    owners = np.repeat(np.arange(len(folded)), [len(text) for text in folded])
    points = codes("".join(folded))
    kinds = kinds_of(points)
    counted = is_written(kinds)
    bare = np.bincount(owners[counted], minlength=len(folded)) == 0
    counted |= bare[owners]
    owners = owners[counted]
    letters = points[counted].astype(np.uint64)
    sizes = np.bincount(owners, minlength=len(folded))
    han = np.bincount(owners[is_han(kinds[counted])], minlength=len(folded))
    wanted = np.where(2 * han > sizes, _HAN_SHINGLE, _SHINGLE)
    widths = np.minimum(wanted, sizes)
    ends = np.cumsum(sizes)
    hashes = np.where(wanted[owners] == _SHINGLE, _runs(letters, _SHINGLE), _runs(letters, _HAN_SHINGLE))
    for short in np.flatnonzero(sizes < wanted):
        begin = ends[short] - sizes[short]
        hashes[begin] = _runs(letters[begin : ends[short]], int(sizes[short]))[0]
    whole = np.arange(len(letters)) + widths[owners] <= ends[owners]
    return hashes[whole], sizes - widths + 1


def _runs(points: NDArray[np.uint64], width: int) -> NDArray[np.uint64]:
    """Return a hash of the `width` code points from every place on; the last places hash what is left."""
    hashes = np.zeros(len(points), dtype=np.uint64)
    for place in range(min(width, len(points))):
        run = hashes[: len(points) - place]
        run ^= points[place:]
        run *= _MULTIPLIER
        run ^= run >> np.uint64(29)
    return hashes
