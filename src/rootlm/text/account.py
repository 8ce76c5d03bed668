"""The manifest of a corpus: what it was made from, how, and what came out; nothing depends on the day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rootlm import __version__
from rootlm.text.corpus import FORMAT
from rootlm.text.document import SPLITS
from rootlm.text.duplicates import Indices
from rootlm.text.faults import Faults
from rootlm.text.gather import Gathered
from rootlm.text.publish import Fates
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
    gathered: Gathered,
    fates: Fates,
    origins: Sequence[Origin],
    faults: Sequence[Faults],
    shards: Mapping[str, list[Plain]],
) -> Plain:
    """Return documents, bytes and characters by split, and within each by language and by source."""
    sources = [
        {
            "name": origin.name,
            "read": gathered.read[index],
            "encodings": dict(sorted(faults[index].encodings.items())),
        }
        for index, origin in enumerate(origins)
    ]
    splits: Plain = {}
    for place, split in enumerate(SPLITS):
        if split in shards:
            members = np.flatnonzero(fates == place)
            splits[split] = {
                **_size(gathered, members),
                "languages": _by(gathered, members, gathered.languages, gathered.language_names),
                "sources": _by(gathered, members, gathered.origins, [origin.name for origin in origins]),
                "shards": shards[split],
            }
    return {"reading": sources, "splits": splits}


def _by(gathered: Gathered, members: Indices, codes: Indices, names: Sequence[str]) -> Plain:
    present = np.unique(codes[members]).tolist()
    return {names[code]: _size(gathered, members[codes[members] == code]) for code in present}


def _size(gathered: Gathered, members: Indices) -> Plain:
    return {
        "documents": len(members),
        "bytes": int(gathered.bytes[members].sum()),
        "characters": int(gathered.characters[members].sum()),
    }


def _different_keys(made: object, asked: object, prefix: str) -> list[str]:
    if isinstance(made, dict) and isinstance(asked, dict):
        keys = [
            _different_keys(made.get(key), asked.get(key), f"{prefix}{key}.") for key in {**made, **asked}
        ]
        return [key for group in keys for key in group]
    return [] if made == asked else [prefix.rstrip(".")]
