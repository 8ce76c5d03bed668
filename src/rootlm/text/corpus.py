"""A corpus: a folder of documents in splits, with a manifest that says where they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from rootlm.core.files import MANIFEST, read_json, verify_folder
from rootlm.text.document import SPLITS, Document
from rootlm.text.shards import Shard, draw, read_lines, to_document

FORMAT = "rootlm corpus 1"
DROPPED = "dropped.jsonl.zst"


class Counts(NamedTuple):
    """The size of a split; `bytes` are those of the texts in UTF-8."""

    documents: int
    bytes: int
    characters: int


class Corpus:
    """Documents on disk. Opening reads the manifest only; documents are streamed."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path, verify: bool = False) -> Corpus:
        """Open a folder that `prepare` wrote; with `verify` every file is compared with its checksum.

        Raises ValueError when the folder is no corpus or, with `verify`, names the file that was changed.
        """
        if not folder.is_dir():
            raise ValueError(
                f"{folder}: no such folder; make a corpus with rootlm data prepare FILES out={folder}"
            )
        if not (folder / MANIFEST).is_file():
            raise ValueError(
                f"{folder}: holds no {MANIFEST}, so it is no corpus; rootlm data prepare makes one"
            )
        manifest = read_json(folder / MANIFEST)
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ValueError(
                f"{folder / MANIFEST}: is not of a corpus ({FORMAT}); rootlm data prepare makes one"
            )
        if verify:
            verify_folder(folder)
        return cls(folder, manifest)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that hold documents."""
        return tuple(split for split in SPLITS if split in self.manifest["splits"])

    def documents(self, split: str) -> Iterator[Document]:
        """Yield the documents of a split in the order they were read."""
        for shard in self._shards(split):
            for line in read_lines(self.folder / shard.name):
                yield to_document(line)

    def counts(self, split: str) -> Counts:
        """Return documents, bytes and characters of a split."""
        entry = self._entry(split)
        return Counts(entry["documents"], entry["bytes"], entry["characters"])

    def sample(self, split: str, count: int, seed: int = 0) -> list[Document]:
        """Return some documents of a split, drawn at random from at most two of its files."""
        return draw(self.folder, self._shards(split), count, seed)

    def dropped(self) -> list[dict[str, Any]]:
        """Return the sampled documents that were left out: step, reason, source and how the text begins."""
        return [orjson.loads(line) for line in read_lines(self.folder / DROPPED)]

    @property
    def variant(self) -> str:
        """The name under which what is made of it is kept apart; empty for all that is in the folder."""
        return ""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the checksums of all splits: two corpora with the same one hold the same documents."""
        shards = {shard.name for split in self.splits for shard in self._shards(split)}
        sums = {name: value for name, value in self.manifest["sha256"].items() if name in shards}
        return hashlib.sha256(orjson.dumps(sums, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def _shards(self, split: str) -> list[Shard]:
        return [Shard(**shard) for shard in self._entry(split)["shards"]]

    def _entry(self, split: str) -> dict[str, Any]:
        if split not in self.manifest["splits"]:
            raise ValueError(f"{self.folder}: has no split {split}; it has {', '.join(self.splits)}")
        return dict(self.manifest["splits"][split])
