"""The ids of the contests: the same corpus and tokenizer for everybody, as plain arrays for the peers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import material


def border(vocabulary: int) -> int:
    """Return the id that opens a document and ends the one before it."""
    return int(json.loads((prepare(vocabulary) / "border.json").read_text(encoding="utf-8")))


def prepare(vocabulary: int) -> Path:
    """Return the folder with `train.npy`, `validation.jsonl` and `border.json`, made once."""
    folder = material.FOLDER / f"ids-{vocabulary}"
    if (folder / "border.json").exists():
        return folder
    from rootlm.tokenizers.tokenizer import Tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    corpus, tokenizer = material.corpus(), Tokenizer.load(material.tokenizer(vocabulary))
    texts = [document.text for document in corpus.documents("train")]
    flat = [np.array([tokenizer.bos_id, *ids], np.int64) for ids in tokenizer.encode_batch(texts)]
    order = np.random.default_rng(0).permutation(len(flat))
    np.save(folder / "train.npy", np.concatenate([flat[at] for at in order]))
    held = [document.text for document in corpus.documents("validation")]
    rows = [{"ids": tokenizer.encode(text), "bytes": len(text.encode())} for text in held]
    (folder / "validation.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8"
    )
    (folder / "border.json").write_text(json.dumps(tokenizer.bos_id), encoding="utf-8")
    return folder


def windows(vocabulary: int, context: int, batch: int, seed: int = 0) -> Iterator[NDArray[np.int64]]:
    """Yield batches of random windows of the flat training text, `context + 1` ids each, without end."""
    flat = np.load(prepare(vocabulary) / "train.npy")
    random = np.random.default_rng(seed)
    while True:
        starts = random.integers(0, len(flat) - context - 1, batch)
        yield np.stack([flat[start : start + context + 1] for start in starts])


def held_out(vocabulary: int) -> list[tuple[list[int], int]]:
    """Return (ids, UTF-8 bytes) of every held-out document."""
    lines = (prepare(vocabulary) / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    return [(row["ids"], row["bytes"]) for row in map(json.loads, lines)]
