"""The manifest of a corpus: what it was made from, how, and what came out; nothing depends on the day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rootlm import __version__
from rootlm.text.corpus import FORMAT
from rootlm.text.document import SPLITS
from rootlm.text.pipeline.leaf import Leaf, merged_faults
from rootlm.text.publish import Decided, Published
from rootlm.text.sources import Origin

Plain = dict[str, Any]


def identity(settings: Plain, origins: Sequence[Origin]) -> Plain:
    """Return what decides whether two corpora are the same: settings and the contents of the files."""
    sources = [
        {
            "name": origin.name,
            "path": origin.source.path,
            "licence": origin.source.licence,
            "origin": origin.source.origin,
            "files": len(origin.files),
            "bytes": origin.bytes,
            "sha256": origin.sha256,
        }
        for origin in origins
    ]
    return {"format": FORMAT, "rootlm": __version__, "settings": settings, "sources": sources}


def differences(made: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return in what the identity of two manifests differs, in words; empty when nothing does."""
    keys = sorted(_different_keys(made["settings"], asked["settings"], ""))
    found = [f"settings ({', '.join(keys)})"] if keys else []
    sums = [[source["sha256"] for source in manifest["sources"]] for manifest in (made, asked)]
    if sums[0] != sums[1]:
        found.append("text")
    return found


def sizes(
    leaves: Sequence[Leaf],
    owners: Sequence[int],
    decided: Decided,
    origins: Sequence[Origin],
    published: Published,
) -> Plain:
    """Return documents, bytes and characters by split, and within each by language and by source.

    `owners` has the number of each leaf's source.
    """
    sources = []
    for index, origin in enumerate(origins):
        own = [leaf for leaf, owner in zip(leaves, owners, strict=True) if owner == index]
        encodings, faults = merged_faults(own)
        read = sum(leaf.tally.read for leaf in own) + sum(count for count, _ in faults.values())
        sources.append({"name": origin.name, "read": read, "encodings": dict(sorted(encodings.items()))})
    languages: dict[tuple[str, str], NDArray[np.int64]] = {}
    collections: dict[tuple[str, str], NDArray[np.int64]] = {}
    first = 0
    shards = published.shards
    augmented = np.zeros(3, dtype=np.int64)
    for leaf, owner, copies in zip(leaves, owners, published.copies, strict=True):
        for name, counts in copies.items():
            added = np.array(counts, dtype=np.int64)
            for where, key in ((collections, origins[owner].name), (languages, name)):
                where[SPLITS[0], key] = where.get((SPLITS[0], key), np.zeros(3, dtype=np.int64)) + added
            augmented += added
        records, names = leaf.records(), leaf.summary["languages"]
        here = slice(first, first + len(records))
        for place, split in enumerate(SPLITS):
            chosen = decided.fates[here] == place
            kept = np.repeat(records[chosen], decided.times[here][chosen])
            _add(collections, (split, origins[owner].name), kept)
            for code in np.unique(kept["language"]).tolist():
                _add(languages, (split, names[code]), kept[kept["language"] == code])
        first += len(records)
    splits = {
        split: {
            **_size(_of(collections, split).values()),
            "languages": {name: _size([size]) for name, size in sorted(_of(languages, split).items())},
            "sources": {name: _size([size]) for name, size in _of(collections, split).items()},
            "shards": shards[split],
        }
        for split in SPLITS
        if split in shards
    }
    more = {"augmented": _size([augmented])} if augmented.any() else {}
    return {"reading": sources, "splits": splits, **more}


def _add(
    sizes: dict[tuple[str, str], NDArray[np.int64]], key: tuple[str, str], kept: NDArray[np.void]
) -> None:
    if len(kept):
        added = [len(kept), kept["bytes"].sum(dtype=np.int64), kept["characters"].sum(dtype=np.int64)]
        sizes[key] = sizes.get(key, np.zeros(3, dtype=np.int64)) + np.array(added)


def _of(sizes: Mapping[tuple[str, str], NDArray[np.int64]], split: str) -> dict[str, NDArray[np.int64]]:
    return {name: size for (where, name), size in sizes.items() if where == split}


def _size(parts: Iterable[NDArray[np.int64]]) -> Plain:
    documents, size, characters = np.sum(list(parts), axis=0).tolist()
    return {"documents": documents, "bytes": size, "characters": characters}


def _different_keys(made: object, asked: object, prefix: str) -> list[str]:
    if isinstance(made, dict) and isinstance(asked, dict):
        keys = [
            _different_keys(made.get(key), asked.get(key), f"{prefix}{key}.") for key in {**made, **asked}
        ]
        return [key for group in keys for key in group]
    return [] if made == asked else [prefix.rstrip(".")]
