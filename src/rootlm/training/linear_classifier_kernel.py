"""The linear classifier of texts, a stretch at a time, compiled.

A text is the mean h of the rows of its bag. With the row u of each label,

    softmax                L = −log (exp u_y · h / Σ exp u · h)
    one versus all         L = −Σ log σ(± u · h)              + for the text's labels, − for all others
    hierarchical softmax   L = −Σ_n log σ((2 turn_n − 1) u_n · h)

and the step is u += rate (t − p) h; each row of the bag gets an even share of Σ rate (t − p) u (Joulin et al. 2017).
Of several labels, the softmaxes take one at random each time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import compiled
from rootlm.models.text_bag_kernel import put_bag
from rootlm.training.row_arithmetic import add_to_rows, exchange, mean, products
from rootlm.training.word_vector_kernel import drawn, sigmoid, turned

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Rows = NDArray[np.int32]

SOFTMAX, ONE_VERSUS_ALL, TREE = 0, 1, 2
_HIGH = np.uint64(32)


@compiled
def mark_buckets(
    words: Rows,
    borders: Ints,
    own: Rows,
    hashes: Rows,
    starts: Ints,
    parts: Rows,
    n_words: int,
    ngrams: int,
    buckets: int,
    used: NDArray[np.bool_],
) -> int:
    """Mark the buckets that texts use; returns the rows of the largest bag."""
    largest = 0
    none = np.empty(0, np.int64)
    for text in range(len(borders) - 1):
        begin, end = borders[text], borders[text + 1]
        count = put_bag(words, begin, end, own, hashes, starts, parts, n_words, ngrams, buckets, none)
        largest = max(largest, count)
    bag = np.empty(largest + 1, np.int64)
    for text in range(len(borders) - 1):
        begin, end = borders[text], borders[text + 1]
        count = put_bag(words, begin, end, own, hashes, starts, parts, n_words, ngrams, buckets, bag)
        for place in range(count):
            if bag[place] >= n_words:
                used[bag[place] - n_words] = True
    return largest


@compiled
def learn_texts(
    words: Rows,
    borders: Ints,
    labels: Rows,
    label_borders: Ints,
    first: int,
    end: int,
    own: Rows,
    hashes: Rows,
    starts: Ints,
    parts: Rows,
    n_words: int,
    ngrams: int,
    buckets: int,
    rows_of_buckets: Rows,
    rows: Floats,
    outputs: Floats,
    n_labels: int,
    width: int,
    offsets: Ints,
    nodes: Rows,
    turns: NDArray[np.int8],
    loss_kind: int,
    sigmoids: Floats,
    rate_first: float,
    rate_last: float,
    seed: np.uint64,
    hidden: Floats,
    before: Floats,
    held: Floats,
    bag: Ints,
    places: Ints,
    targets: Floats,
    steps: Floats,
) -> tuple[float, int]:
    """Learn from some texts; returns their loss and how many have one."""
    state, total, learned = seed, 0.0, 0
    start = borders[first]
    fall = (rate_last - rate_first) / max(1, borders[end] - start)
    for text in range(first, end):
        begin, stop = borders[text], borders[text + 1]
        n_given = label_borders[text + 1] - label_borders[text]
        count = put_bag(words, begin, stop, own, hashes, starts, parts, n_words, ngrams, buckets, bag)
        if count == 0 or n_given == 0:
            continue
        if len(rows_of_buckets):
            for place in range(count):
                if bag[place] >= n_words:
                    bag[place] = n_words + rows_of_buckets[bag[place] - n_words]
        state = turned(state)
        chosen = np.int64(((drawn(state) >> _HIGH) * np.uint64(n_given)) >> _HIGH)
        label = labels[label_borders[text] + chosen]
        if loss_kind == TREE:
            told = offsets[label + 1] - offsets[label]
            for place in range(told):
                places[place] = nodes[offsets[label] + place]
                targets[place] = turns[offsets[label] + place]
        else:
            told = n_labels
            for place in range(told):
                places[place], targets[place] = place, 0.0
            if loss_kind == SOFTMAX:
                targets[label] = 1.0
            else:
                for place in range(label_borders[text], label_borders[text + 1]):
                    targets[labels[place]] = 1.0
        mean(rows, bag, count, hidden, width)
        for number in range(width):
            before[number] = hidden[number]
        products(outputs, places, 0, told, hidden, width, steps)
        rate = np.float32(rate_first + fall * (begin - start))
        if loss_kind == SOFTMAX:
            total += _soften(steps, targets, told, label, rate)
        else:
            for place in range(told):
                value = steps[place]
                signed = value if targets[place] > 0.5 else -value
                total += max(-signed, 0.0) + np.log1p(np.exp(-abs(signed)))
                steps[place] = rate * (targets[place] - sigmoid(value, sigmoids))
        learned += 1
        exchange(outputs, places, 0, told, hidden, width, steps, held)
        share = np.float32(1.0) / np.float32(count)
        for number in range(width):
            before[number] = (hidden[number] - before[number]) * share
        add_to_rows(rows, bag, count, before, width)
    return total, learned


@compiled
def _soften(steps: Floats, targets: Floats, count: int, label: int, rate: np.float32) -> float:
    """Turn scores into the steps of the softmax; returns the loss."""
    most = steps[0]
    for place in range(1, count):
        most = max(most, steps[place])
    total = np.float32(0.0)
    given = steps[label] - most
    for place in range(count):
        steps[place] = np.exp(steps[place] - most)
        total += steps[place]
    for place in range(count):
        steps[place] = rate * (targets[place] - steps[place] / total)
    return np.log(total) - given  # type: ignore[no-any-return]
