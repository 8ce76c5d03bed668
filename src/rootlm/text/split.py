"""Train, validation and test: a document's place follows from its content, and a cluster stays together."""

from __future__ import annotations

import hashlib
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rootlm.core.config import Config
from rootlm.text.copies.duplicates import Indices
from rootlm.text.document import SPLITS

_TRAIN, _VALIDATION, _TEST = range(3)
_SMALL_SHARE = 0.05
_BLOCK = 1 << 16


class Split(Config):
    """How much is held out. The same document falls into the same split whatever else is in the corpus,
    unless a source is so small that `min_documents` asks for more."""

    validation: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share of the documents held out to watch training and to choose the best checkpoint."""
    test: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Share of the documents that no one looks at before the end."""
    min_documents: Annotated[int, Field(ge=0)] = 20
    """Hold out at least so many of each source for each, but at most a twentieth of it."""
    stratify: str | None = None
    """A key of meta, such as a label: hold out the same share of the documents of each of its values; the split of
    a document then depends on the others."""
    together: str | None = None
    """A key of meta, such as a page: documents that share its value stay in one split."""
    seed: int = 0
    """Another seed, another split."""

    @model_validator(mode="after")
    def _leaves_some(self) -> Split:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave nothing to train on; their sum must be below 1")
        return self


def assign(
    digests: NDArray[np.uint64],
    clusters: Indices,
    sources: NDArray[np.integer],
    split: Split,
    strata: NDArray[np.integer] | None = None,
) -> NDArray[np.int8]:
    """Return the split of every document, as an index into `SPLITS`.

    `digests` is (documents, 2); documents with the same number in `clusters` stay together; `sources` numbers
    the source of each, `strata` its stratum. A cluster's place is drawn from the smallest digest in it. Raises
    ValueError when a split that is wanted would be empty.
    """
    _, firsts, cluster, sizes = np.unique(
        clusters, return_index=True, return_inverse=True, return_counts=True
    )
    draws = _draws(digests, cluster, split.seed)
    places = np.zeros(len(sizes), dtype=np.int8)
    if strata is None:
        places[draws < split.validation + split.test] = _TEST
        places[draws < split.validation] = _VALIDATION
    else:
        _stratify(places, draws, sizes, strata[firsts], split)
    places[sizes > max(len(digests) * _SMALL_SHARE, 1)] = _TRAIN
    held_out = [place for place, share in ((_VALIDATION, split.validation), (_TEST, split.test)) if share]
    for source in np.unique(sources):
        members = np.flatnonzero(sources[firsts] == source)
        enough = min(split.min_documents, int(sizes[members].sum() * _SMALL_SHARE))
        for place in held_out:
            _fill(places, members, place, enough, draws=draws, sizes=sizes)
    for place in held_out if len(sizes) else ():
        _fill(places, np.arange(len(sizes)), place, int(sizes.min()), draws=draws, sizes=sizes)
    _refuse_empty(places, len(digests), split)
    return places[cluster]


def _stratify(
    places: NDArray[np.int8],
    draws: NDArray[np.float64],
    sizes: Indices,
    strata: NDArray[np.integer],
    split: Split,
) -> None:
    """Hold out the clusters with the lowest draws of each stratum, as many documents as its share comes to."""
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        ordered = members[np.argsort(draws[members], kind="stable")]
        below = np.cumsum(sizes[ordered])
        first = round(below[-1] * split.validation)
        places[ordered[below <= first + round(below[-1] * split.test)]] = _TEST
        places[ordered[below <= first]] = _VALIDATION


def times(digests: NDArray[np.uint64], rate: float, seed: int) -> NDArray[np.uint8]:
    """Return how often each document (documents, 2) is taken so that on average it is `rate` times.

    >>> sorted(set(times(np.arange(80, dtype=np.uint64).reshape(-1, 2), 2.25, 0).tolist()))
    [2, 3]
    """
    whole = int(rate)
    draws = _draws(digests, np.arange(len(digests)), -1 - seed) if rate > whole else np.ones(len(digests))
    return (whole + (draws < rate - whole)).astype(np.uint8)


def _draws(digests: NDArray[np.uint64], cluster: Indices, seed: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for every cluster."""
    order = np.lexsort((digests[:, 1], digests[:, 0], cluster))
    ordered = cluster[order]
    begins = np.ones(len(ordered), dtype=bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    firsts = order[begins]
    del order, ordered, begins
    salt = seed.to_bytes(16, "little", signed=True)
    draws = np.empty(len(firsts), dtype=np.float64)
    for start in range(0, len(firsts), _BLOCK):
        rows = digests[firsts[start : start + _BLOCK]]
        hashes = [hashlib.blake2b(row.tobytes(), digest_size=8, salt=salt).digest() for row in rows]
        draws[start : start + len(rows)] = np.frombuffer(b"".join(hashes), dtype=np.uint64) / 2.0**64
    return draws


def _fill(
    places: NDArray[np.int8],
    members: Indices,
    place: int,
    enough: int,
    *,
    draws: NDArray[np.float64],
    sizes: Indices,
) -> None:
    """Move the training clusters with the lowest draws to `place` until `enough` documents are there.

    Clusters that hold more than enough are passed over; a third of the training clusters is the most it takes,
    so that something is left for the other splits.
    """
    held = int(sizes[members[places[members] == place]].sum())
    training = members[places[members] == _TRAIN]
    small = training[sizes[training] <= enough]
    most = max(len(training) // 3, min(len(training) - 1, 1))
    for head in small[np.argsort(draws[small], kind="stable")][:most]:
        if held >= enough:
            return
        places[head] = place
        held += int(sizes[head])


def _refuse_empty(places: NDArray[np.int8], documents: int, split: Split) -> None:
    for index, share in ((_TRAIN, 1.0), (_VALIDATION, split.validation), (_TEST, split.test)):
        if share and not (places == index).any():
            raise ValueError(
                f"the {SPLITS[index]} split would be empty: {documents} documents in {len(places)} clusters "
                "of near-duplicates cannot be shared out; give more text, cut it finer "
                "(read.max_document_characters=2000, read.documents=paragraph) or set "
                f"split.{SPLITS[index if index else 1]}=0"
            )
