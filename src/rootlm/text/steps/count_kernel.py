"""What is counted in the words of a text: letters, sentences, repeated runs. Imported only by who counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled
from rootlm.text.steps.word_kernel import ALPHA, MARK, STOP

_SEED, _STEP = np.uint64(0xCBF29CE484222325), np.uint64(0x9E3779B97F4A7C15)
_MORE = np.uint64(32)
_LINE_END = ord("\n")

Points = NDArray[np.uint32]
Classes = NDArray[np.uint16]
Places = NDArray[np.int32]
Hashes = NDArray[np.uint64]


@compiled
def count_words(points: Points, classes: Classes, starts: Places, ends: Places) -> tuple[int, int, int]:
    """Return how many words are more than marks, how many characters these have, and how many hold a letter."""
    real = characters = alphabetic = 0
    for word in range(len(starts)):
        is_real = has_letter = False
        for place in range(starts[word], ends[word]):
            is_real |= not classes[place] & MARK
            has_letter |= classes[place] & ALPHA != 0
        if is_real:
            real += 1
            characters += ends[word] - starts[word]
        alphabetic += has_letter
    return real, characters, alphabetic


@compiled
def count_sentences(points: Points, classes: Classes, starts: Places, ends: Places) -> int:
    """Return how many sentences the lines of a text hold; every line ends one."""
    sentences = 0
    previous = 0
    ended = True
    for word in range(len(starts)):
        for place in range(previous, starts[word]):
            ended |= points[place] == _LINE_END
        is_mark = True
        for place in range(starts[word], ends[word]):
            is_mark &= classes[place] & MARK != 0
        fresh = word == 0
        for place in range(previous, starts[word]):
            fresh |= points[place] == _LINE_END
        if fresh or (ended and not is_mark):
            sentences += 1
            ended = False
        if ends[word] - starts[word] == 1 and classes[starts[word]] & STOP:
            ended = True
        previous = ends[word]
    return sentences


@compiled
def run_characters(
    hashes: Hashes, lengths: Places, widths: Places, between: int, least: int
) -> tuple[Places, Places]:
    """Return, for every width, the characters in the most frequent run of that many words, and in repeated runs.

    The most frequent run must occur `least` times, and of two the first counts; `between` characters stand
    between two words. No word of a repeated run counts twice. Widths rise: only what is repeated can be
    repeated at a greater width, so that each step looks at few places.
    """
    tops = np.zeros(len(widths), np.int32)
    repeats = np.zeros(len(widths), np.int32)
    size = len(hashes)
    alive = np.arange(size).astype(np.int32)
    keys = np.full(size, _SEED, np.uint64)
    done = 0
    for step in range(len(widths)):
        width = widths[step]
        if size < width:
            break
        while len(alive) and alive[-1] + width > size:
            alive = alive[:-1]
        for place in alive:
            value = keys[place]
            for word in range(place + done, place + width):
                value = (value ^ hashes[word]) * _STEP
                value ^= value >> _MORE
            keys[place] = value
        done = width
        groups, counts = _group(keys, alive)
        best, first = 1, 0
        for index in range(len(alive)):
            if counts[groups[index]] > best:
                best, first = counts[groups[index]], alive[index]
        if best >= least:
            tops[step] = best * (between * (width - 1) + lengths[first : first + width].sum())
        alive, groups = _shared(alive, groups, counts)
        repeats[step] = _repeated(alive, groups, counts, lengths, width)
    return tops, repeats


@compiled
def _group(keys: Hashes, alive: Places) -> tuple[Places, Places]:
    """Return which slot of a table the key of every place has, and how often each slot is used."""
    slots = 2
    while slots < 2 * len(alive):
        slots *= 2
    holders = np.full(slots, -1, np.int32)
    counts = np.zeros(slots, np.int32)
    groups = np.empty(len(alive), np.int32)
    for index in range(len(alive)):
        key = keys[alive[index]]
        slot = np.int64(key >> _MORE) & (slots - 1)
        while holders[slot] >= 0 and keys[holders[slot]] != key:
            slot = (slot + 1) & (slots - 1)
        holders[slot] = alive[index]
        counts[slot] += 1
        groups[index] = slot
    return groups, counts


@compiled
def _shared(alive: Places, groups: Places, counts: Places) -> tuple[Places, Places]:
    """Return the places whose run occurs more than once, and their groups."""
    count = 0
    places = np.empty(len(alive), np.int32)
    kept = np.empty(len(alive), np.int32)
    for index in range(len(alive)):
        if counts[groups[index]] > 1:
            places[count], kept[count] = alive[index], groups[index]
            count += 1
    return places[:count], kept[:count]


@compiled
def _repeated(alive: Places, groups: Places, counts: Places, lengths: Places, width: int) -> int:
    """Return the characters of the runs that stood before, going on behind each one that is found."""
    seen = np.zeros(len(counts) if len(alive) else 0, np.bool_)
    repeated = 0
    free = 0
    for index in range(len(alive)):
        if alive[index] < free:
            continue
        if seen[groups[index]]:
            free = alive[index] + width
            repeated += lengths[alive[index] : free].sum()
        seen[groups[index]] = True
    return repeated
