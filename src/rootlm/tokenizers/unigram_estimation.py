"""Expectation maximisation for unigram pieces (Kudo 2018), on whole arrays and always in one order.

Words of one length are one array. A word's edges say, for each start and length, which piece lies there.
Forward and backward sums run over places, for all words at once; probabilities need no logarithm, because
words are short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
Integers = npt.NDArray[Any]

LONGEST_PIECE = 16
_LONGEST_WORD = 24
_SEEDS_PER_ENTRY = 12
_LEAST_SEEDS = 100_000
_KEPT_PER_ROUND = 0.75
_LEAST_EXPECTED = 0.5
_EDGES_AT_ONCE = 4_000_000


@dataclass
class Words:
    """Words of one length: the piece at each place (or -1), and how often each word occurs."""

    edges: Integers  # (words, starts, lengths)
    counts: Floats  # (words,)


def estimate(words: Mapping[str, int], alphabet: Sequence[str], size: int) -> list[tuple[str, float]]:
    """Return at most `size` pieces with log probabilities, likely ones first; `alphabet` is among them.

    Characters outside `alphabet` cut the words they stand in.
    """
    stretches = _known_stretches(words, set(alphabet))
    codes = {length: _codes(group) for length, group in _by_length(stretches).items()}
    weights = {
        length: np.array([stretches[word] for word in group], np.float64)
        for length, group in _by_length(stretches).items()
    }
    pieces, counts, found = _seeds(codes, weights, alphabet, max(_SEEDS_PER_ENTRY * size, _LEAST_SEEDS))
    text = [Words(_edges(codes[length], found), weights[length]) for length in codes]
    selves = _piece_words(pieces, found)
    scores = np.log(counts / counts.sum())
    single = np.array([len(piece) == 1 for piece in pieces])
    alive = np.arange(len(pieces))
    while True:
        for _ in range(2):
            expected = _expected(text, scores)
            keep = single[alive] | (expected >= _LEAST_EXPECTED)
            if keep.sum() >= size and not keep.all():
                alive, expected = _narrow(alive, keep, text, selves), expected[keep]
            scores = _maximised(expected)
        if len(alive) <= size:
            break
        target = max(size, int(_KEPT_PER_ROUND * len(alive)))
        keep = _most_missed(expected, scores, selves, single[alive], target)
        alive, scores = _narrow(alive, keep, text, selves), scores[keep]
    return sorted(zip((pieces[place] for place in alive), scores.tolist(), strict=True), key=_rank)


def _rank(entry: tuple[str, float]) -> tuple[float, str]:
    return -entry[1], entry[0]


def _known_stretches(words: Mapping[str, int], alphabet: set[str]) -> dict[str, int]:
    stretches: Counter[str] = Counter()
    for word, count in words.items():
        known = "".join(character if character in alphabet else "\n\0" for character in word)
        for part in known.split("\n\0"):
            for start in range(0, len(part), _LONGEST_WORD):
                stretches[part[start : start + _LONGEST_WORD]] += count
    return dict(sorted(stretches.items()))


def _by_length(words: Iterable[str]) -> dict[int, list[str]]:
    groups: dict[int, list[str]] = {}
    for word in words:
        groups.setdefault(len(word), []).append(word)
    return dict(sorted(groups.items()))


def _codes(words: Sequence[str]) -> Integers:
    joined = np.frombuffer("".join(words).encode("utf-32-le"), np.uint32)
    return joined.reshape(len(words), -1)  # (words, characters)


def _substring_hashes(codes: Integers) -> Integers:
    """Return a 64-bit hash for each start and length; 0 where the word ends before."""
    length = codes.shape[1]
    mixed = (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    hashes = np.zeros((*codes.shape, min(length, LONGEST_PIECE)), np.uint64)  # (words, starts, lengths)
    hashes[:, :, 0] = mixed
    for extra in range(1, hashes.shape[2]):
        before = hashes[:, : length - extra, extra - 1]
        hashes[:, : length - extra, extra] = before * np.uint64(0xD6E8FEB86659FD93) + mixed[:, extra:]
    return hashes


def _seeds(
    codes: Mapping[int, Integers], weights: Mapping[int, Floats], alphabet: Sequence[str], most: int
) -> tuple[list[str], Floats, Integers]:
    """Return the first pieces, their counts and their hashes: the alphabet, and what repeats and is long."""
    hashes, counts, lengths, origins = _counted(codes, weights)
    sizes = origins % np.minimum(lengths, LONGEST_PIECE) + 1
    gain = np.where((counts >= 2) & (sizes > 1), counts * sizes, 0.0)
    chosen = np.isin(hashes, _substring_hashes(_codes(list(alphabet))))
    chosen[np.argsort(-gain, kind="stable")[: min(most, int((gain > 0).sum()))]] = True
    pieces: list[str] = []
    for length, origin in zip(lengths[chosen].tolist(), origins[chosen].tolist(), strict=True):
        rest, extra = divmod(origin, min(length, LONGEST_PIECE))
        row, start = divmod(rest, length)
        characters = codes[length][row, start : start + extra + 1]
        pieces.append(characters.astype("<u4").tobytes().decode("utf-32-le"))
    return pieces, counts[chosen], hashes[chosen]


def _counted(
    codes: Mapping[int, Integers], weights: Mapping[int, Floats]
) -> tuple[Integers, Floats, Integers, Integers]:
    """Return every substring's hash, sorted, its count, and where it was seen: word length and flat place."""
    parts: list[tuple[Integers, Floats, Integers, Integers]] = []
    for length, group in codes.items():
        hashes = _substring_hashes(group).ravel()
        places = np.flatnonzero(hashes)
        unique, first, inverse = np.unique(hashes[places], return_index=True, return_inverse=True)
        per_word = len(hashes) // len(group)
        counts = np.bincount(inverse, weights[length][places // per_word])
        parts.append((unique, counts, np.full(len(unique), length), places[first]))
    seen, counts, lengths, origins = (np.concatenate(column) for column in zip(*parts, strict=True))
    unique, first, inverse = np.unique(seen, return_index=True, return_inverse=True)
    return unique, np.bincount(inverse, counts), lengths[first], origins[first]


def _places(hashes: Integers, known: Integers) -> Integers:
    places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return np.where((known[places] == hashes) & (hashes != 0), places, -1).astype(np.int32)


def _edges(codes: Integers, known: Integers) -> Integers:
    return _places(_substring_hashes(codes), known)


def _piece_words(pieces: Sequence[str], known: Integers) -> dict[int, tuple[Integers, Integers]]:
    """Return by length the places of the pieces and their edges, without the edge that is the whole piece."""
    order = {piece: place for place, piece in enumerate(pieces)}
    selves: dict[int, tuple[Integers, Integers]] = {}
    for length, group in _by_length(pieces).items():
        if length > 1:
            edges = _edges(_codes(group), known)
            edges[:, 0, length - 1] = -1
            selves[length] = (np.array([order[piece] for piece in group]), edges)
    return selves


def _chunks(words: Words) -> Iterator[tuple[Integers, Floats]]:
    step = max(1, _EDGES_AT_ONCE // (words.edges.shape[1] * words.edges.shape[2]))
    for start in range(0, len(words.counts), step):
        yield words.edges[start : start + step], words.counts[start : start + step]


def _expected(text: Sequence[Words], scores: Floats) -> Floats:
    """Return how often each piece is used, over all segmentations by their probability."""
    chances = np.append(np.exp(scores), 0.0)
    expected = np.zeros(len(chances))
    for group in text:
        for edges, counts in _chunks(group):
            chance = chances[edges]  # (words, starts, lengths)
            words, length, longest = chance.shape
            forward = np.zeros((words, length + 1))
            backward = np.zeros((words, length + 1))
            forward[:, 0] = backward[:, length] = 1.0
            for end in range(1, length + 1):
                for size in range(1, min(end, longest) + 1):
                    forward[:, end] += forward[:, end - size] * chance[:, end - size, size - 1]
            for start in range(length - 1, -1, -1):
                for size in range(1, min(length - start, longest) + 1):
                    backward[:, start] += backward[:, start + size] * chance[:, start, size - 1]
            for size in range(1, longest + 1):
                starts = length - size + 1
                chance[:, :starts, size - 1] *= forward[:, :starts] * backward[:, size:]
            chance *= (counts / forward[:, length])[:, None, None]
            expected += np.bincount(edges.ravel() + 1, chance.ravel(), len(chances))
    return expected[1:]


def _maximised(expected: Floats) -> Floats:
    """Return log probabilities that favour few pieces: digamma for the logarithm (Liang and Klein 2009)."""
    counts = np.maximum(expected, _LEAST_EXPECTED)
    return _digamma(counts) - float(_digamma(np.array([counts.sum()]))[0])


def _digamma(values: Floats) -> Floats:
    """Return the derivative of log gamma: recurrence up to six, then the asymptotic series."""
    shifted, result = values.copy(), np.zeros_like(values)
    while (small := shifted < 6).any():
        result[small] -= 1 / shifted[small]
        shifted[small] += 1
    inverse = 1 / shifted**2
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse / 252))
    return result + np.log(shifted) - 0.5 / shifted - series


def _most_missed(
    expected: Floats,
    scores: Floats,
    selves: Mapping[int, tuple[Integers, Integers]],
    single: npt.NDArray[np.bool_],
    target: int,
) -> npt.NDArray[np.bool_]:
    """Choose the `target` pieces whose loss would cost most likelihood; single characters always stay."""
    loss = np.zeros(len(scores))
    padded = np.append(scores, -np.inf)
    for length, (places, edges) in selves.items():
        best = np.full((len(places), length + 1), -np.inf)
        best[:, 0] = 0.0
        for end in range(1, length + 1):
            for size in range(1, min(end, edges.shape[2]) + 1):
                step = best[:, end - size] + padded[edges[:, end - size, size - 1]]
                np.maximum(best[:, end], step, out=best[:, end])
        loss[places] = expected[places] * (scores[places] - best[:, length])
    loss[single] = np.inf
    keep = np.zeros(len(scores), np.bool_)
    keep[np.argsort(-loss, kind="stable")[:target]] = True
    return keep


def _narrow(
    alive: Integers,
    keep: npt.NDArray[np.bool_],
    text: Sequence[Words],
    selves: dict[int, tuple[Integers, Integers]],
) -> Integers:
    """Drop pieces everywhere: places close up, edges to dropped pieces become -1."""
    moved = np.append(np.where(keep, np.cumsum(keep) - 1, -1), -1).astype(np.int32)
    for group in text:
        group.edges = moved[group.edges]
    for length, (places, edges) in selves.items():
        stays = keep[places]
        selves[length] = (moved[places[stays]], moved[edges[stays]])
    return alive[keep]
