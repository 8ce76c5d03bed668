"""Skip-gram and continuous bag of words, a stretch of text at a time, compiled.

A word is read as the mean h of its bag of rows: its own row alone (Mikolov et al. 2013), or with the rows of its
character n-grams (Bojanowski et al. 2017). Skip-gram reads one word and tells each of its neighbours; the bag of
words reads all neighbours and tells the word. What is told is a word o, in one of two ways:

    negative sampling      L = −log σ(u_o · h) − Σ_k log σ(−u_k · h),   k drawn from counts^0.75
    hierarchical softmax   L = −Σ_n log σ((2 turn_n − 1) u_n · h),      n the nodes on the way to o

Both are told apart by rows and labels t alone: the step is g = rate (t − σ(u · h)), u += g h, and each row of the bag
gets the sum of g u, undivided, as word2vec and fastText have it. h follows its own rows from neighbour to neighbour;
the rows are written once per word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled
from rootlm.training.row_arithmetic import add_to_rows, exchange, fetch, mean, products

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Tokens = NDArray[np.int32]

LIMIT, _PER_UNIT = 8, 128
"""σ is read from a table between −LIMIT and LIMIT, the line between neighbours taken; beyond, it is the last."""
_AHEAD = 2
_SAMPLED = 16
_WHOLE = np.uint32(0xFFFFFFFF)
_HIGH = np.uint64(32)


def sigmoid_table() -> Floats:
    """Return σ at the points of the table."""
    points = np.arange(-LIMIT * _PER_UNIT, LIMIT * _PER_UNIT + 2) / _PER_UNIT
    return (1 / (1 + np.exp(-points))).astype(np.float32)


@compiled
def turned(state: np.uint64) -> np.uint64:
    """Return the next state of Marsaglia's xorshift."""
    state ^= state >> np.uint64(12)
    state ^= state << np.uint64(25)
    return state ^ (state >> np.uint64(27))


@compiled
def drawn(state: np.uint64) -> np.uint64:
    """Return 64 random bits (Vigna 2016, xorshift64*)."""
    return state * np.uint64(0x2545F4914F6CDD1D)


@compiled
def sigmoid(value: np.float32, table: Floats) -> np.float32:
    """Return σ(value) from the table."""
    # So written that what is not a number, too, falls on the table's edge.
    if not value > np.float32(-LIMIT):
        return table[0]  # type: ignore[no-any-return]
    if not value < np.float32(LIMIT):
        return table[2 * LIMIT * _PER_UNIT]  # type: ignore[no-any-return]
    place = (value + np.float32(LIMIT)) * np.float32(_PER_UNIT)
    left = np.int64(place)
    share = place - np.float32(left)
    return table[left] + share * (table[left + 1] - table[left])  # type: ignore[no-any-return]


@compiled
def _tell(
    outputs: Floats,
    places: Ints,
    first: int,
    end: int,
    labels: Floats,
    hidden: Floats,
    width: int,
    rate: np.float32,
    sigmoids: Floats,
    steps: Floats,
    held: Floats,
    measured: bool,
) -> float:
    """Take one step for the rows that are told together; returns their loss if it is measured."""
    products(outputs, places, first, end, hidden, width, steps)
    loss = 0.0
    for place in range(first, end):
        value = steps[place]
        if measured:
            signed = value if labels[place] > 0.5 else -value
            loss += max(-signed, 0.0) + np.log1p(np.exp(-abs(signed)))
        steps[place] = rate * (labels[place] - sigmoid(value, sigmoids))
    exchange(outputs, places, first, end, hidden, width, steps, held)
    return loss


@compiled
def _choose(
    word: int,
    first: int,
    negatives: int,
    table: NDArray[np.uint32],
    offsets: Ints,
    nodes: Tokens,
    turns: NDArray[np.int8],
    places: Ints,
    labels: Floats,
    state: np.uint64,
) -> tuple[int, np.uint64]:
    """Write rows and labels that tell a word; returns their end and the random state."""
    if negatives == 0:
        begin, count = offsets[word], offsets[word + 1] - offsets[word]
        for number in range(count):
            places[first + number] = nodes[begin + number]
            labels[first + number] = turns[begin + number]
        return first + count, state
    places[first], labels[first] = word, 1.0
    words = np.uint64(len(table))
    for place in range(first + 1, first + 1 + negatives):
        other = word
        while other == word:
            state = turned(state)
            bits = drawn(state)
            entry = np.int64(((bits >> _HIGH) * words) >> _HIGH)
            column = 1 if np.uint32(bits & np.uint64(_WHOLE)) > table[entry, 0] else 2
            other = int(np.int64(table[entry, column]))
        places[place], labels[place] = other, 0.0
    return first + 1 + negatives, state


@compiled
def _thin(
    tokens: Tokens, begin: int, end: int, keep: NDArray[np.uint32], kept: Tokens, state: np.uint64
) -> tuple[int, np.uint64]:
    """Write the words of a line that are left when frequent ones are left out at random; returns how many."""
    count = 0
    for place in range(begin, end):
        word = tokens[place]
        if keep[word] != _WHOLE:
            state = turned(state)
            if np.uint32(drawn(state) >> _HIGH) > keep[word]:
                continue
        kept[count] = word
        count += 1
    return count, state


@compiled
def _fetch_bag(word: int, bag_offsets: Ints, bags: Tokens, rows: Floats, width: int) -> None:
    """Ask for the rows of a word's bag."""
    for place in range(bag_offsets[word], bag_offsets[word + 1]):
        fetch(rows, bags[place], width)


@compiled
def _read(
    word: int,
    bag_offsets: Ints,
    bags: Tokens,
    rows: Floats,
    width: int,
    hidden: Floats,
    before: Floats,
    bag: Ints,
) -> None:
    """Write the mean of a word's bag to `hidden` and to `before`."""
    size = bag_offsets[word + 1] - bag_offsets[word]
    for place in range(size):
        bag[place] = bags[bag_offsets[word] + place]
    mean(rows, bag, size, hidden, width)
    for number in range(width):
        before[number] = hidden[number]


@compiled
def _write(
    word: int,
    bag_offsets: Ints,
    bags: Tokens,
    rows: Floats,
    width: int,
    hidden: Floats,
    before: Floats,
    bag: Ints,
) -> None:
    """Add what has changed since `_read` to each row of the word's bag."""
    size = bag_offsets[word + 1] - bag_offsets[word]
    for place in range(size):
        bag[place] = bags[bag_offsets[word] + place]
    for number in range(width):
        before[number] = hidden[number] - before[number]
    add_to_rows(rows, bag, size, before, width)


@compiled
def skip_gram(
    tokens: Tokens,
    borders: Ints,
    first_line: int,
    end_line: int,
    keep: NDArray[np.uint32],
    bag_offsets: Ints,
    bags: Tokens,
    rows: Floats,
    outputs: Floats,
    width: int,
    table: NDArray[np.uint32],
    offsets: Ints,
    nodes: Tokens,
    turns: NDArray[np.int8],
    negatives: int,
    shared: bool,
    window: int,
    sigmoids: Floats,
    rate_first: float,
    rate_last: float,
    seed: np.uint64,
    hidden: Floats,
    before: Floats,
    held: Floats,
    kept: Tokens,
    bag: Ints,
    places: Ints,
    labels: Floats,
    steps: Floats,
) -> tuple[float, int]:
    """Learn from some lines; returns the loss of the predictions that were measured, and how many those are.

    `hidden` and `before` hold 2 · window + 1 vectors: those of the words around the one that is told.
    """
    state, loss, measures = seed, 0.0, 0
    start, slots = borders[first_line], 2 * window + 1
    half = len(places) // 2
    fall = (rate_last - rate_first) / max(1, borders[end_line] - start)
    for line in range(first_line, end_line):
        count, state = _thin(tokens, borders[line], borders[line + 1], keep, kept, state)
        if count < 2:
            continue
        rate = np.float32(rate_first + fall * (borders[line] - start))
        ahead, state = _choose(kept[0], 0, negatives, table, offsets, nodes, turns, places, labels, state)
        for position in range(min(window, count)):
            slot = position * width
            _read(kept[position], bag_offsets, bags, rows, width, hidden[slot:], before[slot:], bag)
        for centre in range(count):
            if centre + window < count:
                slot = (centre + window) % slots * width
                _read(
                    kept[centre + window], bag_offsets, bags, rows, width, hidden[slot:], before[slot:], bag
                )
            if centre + window + 1 < count:
                _fetch_bag(kept[centre + window + 1], bag_offsets, bags, rows, width)
            side, end = centre & 1, ahead
            if centre + 1 < count:
                ahead, state = _choose(
                    kept[centre + 1],
                    (1 - side) * half,
                    negatives,
                    table,
                    offsets,
                    nodes,
                    turns,
                    places,
                    labels,
                    state,
                )
                for place in range((1 - side) * half, ahead):
                    fetch(outputs, places[place], width)
            state = turned(state)
            reach = 1 + int(np.int64(((drawn(state) >> _HIGH) * np.uint64(window)) >> _HIGH))
            low, high = max(0, centre - reach), min(count, centre + reach + 1)
            measured = (borders[line] + centre) % _SAMPLED == 0
            if measured:
                measures += high - low - 1
            at = side * half
            for other in range(low, high):
                if other == centre:
                    continue
                slot = other % slots * width
                begin, until = at, end
                if not shared:
                    # The next neighbour's negatives, fetched while this one is told.
                    at = 2 * side * half + half // 2 - at
                    end, state = _choose(
                        kept[centre], at, negatives, table, offsets, nodes, turns, places, labels, state
                    )
                    for place in range(at + 1, end):
                        fetch(outputs, places[place], width)
                loss += _tell(
                    outputs,
                    places,
                    begin,
                    until,
                    labels,
                    hidden[slot:],
                    width,
                    rate,
                    sigmoids,
                    steps,
                    held,
                    measured,
                )
            if centre >= window:
                slot = (centre - window) % slots * width
                _write(
                    kept[centre - window], bag_offsets, bags, rows, width, hidden[slot:], before[slot:], bag
                )
        for position in range(max(0, count - window), count):
            slot = position % slots * width
            _write(kept[position], bag_offsets, bags, rows, width, hidden[slot:], before[slot:], bag)
    return loss, measures


@compiled
def bag_of_words(
    tokens: Tokens,
    borders: Ints,
    first_line: int,
    end_line: int,
    keep: NDArray[np.uint32],
    bag_offsets: Ints,
    bags: Tokens,
    rows: Floats,
    outputs: Floats,
    width: int,
    table: NDArray[np.uint32],
    offsets: Ints,
    nodes: Tokens,
    turns: NDArray[np.int8],
    negatives: int,
    shared: bool,
    window: int,
    sigmoids: Floats,
    rate_first: float,
    rate_last: float,
    seed: np.uint64,
    hidden: Floats,
    before: Floats,
    held: Floats,
    kept: Tokens,
    bag: Ints,
    places: Ints,
    labels: Floats,
    steps: Floats,
) -> tuple[float, int]:
    """Learn from some lines, as `skip_gram` does, a word told by the mean of its neighbours."""
    state, loss, measures, centres = seed, 0.0, 0, 0
    start = borders[first_line]
    fall = (rate_last - rate_first) / max(1, borders[end_line] - start)
    for line in range(first_line, end_line):
        count, state = _thin(tokens, borders[line], borders[line + 1], keep, kept, state)
        rate = np.float32(rate_first + fall * (borders[line] - start))
        for centre in range(count):
            state = turned(state)
            reach = 1 + int(np.int64(((drawn(state) >> _HIGH) * np.uint64(window)) >> _HIGH))
            end, state = _choose(
                kept[centre], 0, negatives, table, offsets, nodes, turns, places, labels, state
            )
            for place in range(end):
                fetch(outputs, places[place], width)
            size = 0
            for other in range(max(0, centre - reach), min(count, centre + reach + 1)):
                if other == centre:
                    continue
                word = kept[other]
                for place in range(bag_offsets[word], bag_offsets[word + 1]):
                    bag[size] = bags[place]
                    size += 1
            if size == 0:
                continue
            mean(rows, bag, size, hidden, width)
            for number in range(width):
                before[number] = hidden[number]
            centres += 1
            measured = centres % _SAMPLED == 0
            loss += _tell(
                outputs, places, 0, end, labels, hidden, width, rate, sigmoids, steps, held, measured
            )
            if measured:
                measures += 1
            for number in range(width):
                before[number] = hidden[number] - before[number]
            add_to_rows(rows, bag, size, before, width)
    return loss, measures
