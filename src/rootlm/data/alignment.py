"""Which token of one side of a pair says the same as which of the other, learned from the pairs alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.core.files import locked, new_folder, read_json, write_json
from rootlm.data.store import Store
from rootlm.data.windows import Ids, Tokens

LINKS, FACTS = ("targets.bin", "sources.bin"), "links.json"
_VERSION = 2
_ROUNDS = 5
_NOTHING, _SLOPE = 0.08, 4.0
_LEAST = 0.1
_LEARNED_LINKS, _BLOCK_LINKS = 16_000_000, 4_000_000

Reals = NDArray[np.float64]


class _Block(NamedTuple):
    """Some pairs: the ids of both sides end to end, and how many of each every pair has, (pairs, 2)."""

    read: Ids
    written: Ids
    sizes: Ids

    @property
    def turned(self) -> _Block:
        """The same pairs, the other way round."""
        return _Block(self.written, self.read, np.ascontiguousarray(self.sizes[:, ::-1]))


class _Dictionary(NamedTuple):
    """Sorted `keys` of a word read and a word written, and p(written | read) of each."""

    keys: Ids
    chances: Reals

    def look_up(self, keys: Ids) -> Reals:
        """Return p of each of `keys`, 0 of those that no pair has taught."""
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        found: Reals = np.where(self.keys[places] == keys, self.chances[places], 0.0)
        return found


class Links(NamedTuple):
    """For every token the place in the other text of its pair that says the same, or −1 where none is sure."""

    of_targets: Ids
    of_sources: Ids


def align(sources: Tokens, targets: Tokens, vocab_size: int) -> Links:
    """Return the links of all pairs of two stores.

    Word alignment by IBM model 1 whose words prefer to stand alike in both texts (Dyer et al. 2013), learned in
    both directions; a link is kept where the product of both directions' chances is high (Liang et al. 2006).
    """
    from rootlm.data.alignment_kernel import agree

    links = Links(*(np.full(int(side.offsets[-1]), -1, np.int64) for side in (targets, sources)))
    if not len(links.of_targets) or not len(links.of_sources):
        return links
    sample = _some(sources, targets)
    ways = _learn(sample, vocab_size), _learn(sample.turned, vocab_size)
    done = [0, 0]
    for block in _blocks(sources, targets):
        there, back = (
            _shares(way, pairs, vocab_size) for way, pairs in zip(ways, (block, block.turned), strict=True)
        )
        ordered = (block.sizes, there, back), (block.turned.sizes, back, there)
        for side, (own, pairs) in enumerate(zip((block.written, block.read), ordered, strict=True)):
            agree(*pairs, _LEAST, links[side][done[side] : done[side] + len(own)])
            done[side] += len(own)
    return links


def open_or_align(folder: Path, source: Store, target: Store) -> Links:
    """Return `align` of two stores, kept in `folder` for all runs that read them."""
    sizes = [target.tokens, source.tokens]
    facts = {
        "corpus": target.facts.corpus,
        "tokenizer": target.facts.tokenizer,
        "links": sizes,
        "version": _VERSION,
    }
    if not (folder / FACTS).is_file() or read_json(folder / FACTS) != facts:
        size = max(side.facts.vocab_size for side in (source, target))
        with locked(folder.parent), new_folder(folder) as partial:
            for name, made in zip(LINKS, align(source, target, size), strict=True):
                (partial / name).write_bytes(made.tobytes())
            write_json(partial / FACTS, facts)
    return Links(*(_open(folder / name, size) for name, size in zip(LINKS, sizes, strict=True)))


def _open(file: Path, size: int) -> Ids:
    return np.memmap(file, np.int64, mode="r", shape=(size,)) if size else np.zeros(0, np.int64)


def _learn(pairs: _Block, vocab_size: int) -> _Dictionary:
    from rootlm.data.alignment_kernel import weigh

    keys, which = np.unique(_keys(pairs, vocab_size), return_inverse=True)
    chances, shares = np.ones(len(keys)), np.empty(len(which))
    # The first round knows of no places, as it were a table of how often words meet.
    for number in range(_ROUNDS):
        weigh(pairs.sizes, chances[which], np.array([_NOTHING, _SLOPE if number else 0.0]), shares)
        counts = np.bincount(which, shares, len(keys))
        chances = counts / np.bincount(keys // vocab_size, counts)[keys // vocab_size].clip(min=1e-300)
    return _Dictionary(keys, chances)


def _shares(dictionary: _Dictionary, pairs: _Block, vocab_size: int) -> Reals:
    from rootlm.data.alignment_kernel import weigh

    keys = _keys(pairs, vocab_size)
    shares = np.empty(len(keys))
    weigh(pairs.sizes, dictionary.look_up(keys), np.array([_NOTHING, _SLOPE]), shares)
    return shares


def _keys(pairs: _Block, vocab_size: int) -> Ids:
    from rootlm.data.alignment_kernel import lay_keys

    keys = np.empty(int((pairs.sizes[:, 1] * (pairs.sizes[:, 0] + 1)).sum()), np.int64)
    lay_keys(*pairs, vocab_size, keys)
    return keys


def _sizes(sources: Tokens, targets: Tokens) -> Ids:
    return np.stack([np.diff(sources.offsets), np.diff(targets.offsets)], 1).astype(np.int64)


def _some(sources: Tokens, targets: Tokens) -> _Block:
    """Return as many pairs, evenly spread, as fit into memory."""
    sizes = _sizes(sources, targets)
    every = max(1, -(-int((sizes.prod(1) + sizes.sum(1)).sum()) // _LEARNED_LINKS))
    chosen = range(0, len(sizes), every)
    sides = [
        np.concatenate([side.ids[side.offsets[n] : side.offsets[n + 1]] for n in chosen]).astype(np.int64)
        for side in (sources, targets)
    ]
    return _Block(sides[0], sides[1], np.ascontiguousarray(sizes[::every]))


def _blocks(sources: Tokens, targets: Tokens) -> Iterator[_Block]:
    sizes = _sizes(sources, targets)
    reach = np.cumsum(sizes.prod(1) + sizes.sum(1))
    first = 0
    while first < len(sizes):
        before = int(reach[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(reach, before + _BLOCK_LINKS)))
        sides = [
            side.ids[side.offsets[first] : side.offsets[last]].astype(np.int64) for side in (sources, targets)
        ]
        yield _Block(sides[0], sides[1], sizes[first:last])
        first = last
