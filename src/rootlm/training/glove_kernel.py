"""The steps of GloVe, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rootlm.core.compiled import summing

Floats = NDArray[np.float32]


class Tables(NamedTuple):
    """What is learned of words as words and as neighbours, and the squares of all gradients so far."""

    words: Floats
    """(vocabulary · width,): w."""
    neighbours: Floats
    """(vocabulary · width,): w̃."""
    word_squares: Floats
    neighbour_squares: Floats
    biases: Floats
    """(2, vocabulary): b and b̃."""
    bias_squares: Floats
    """(2, vocabulary)."""


@summing
def glove_steps(
    pairs: NDArray[np.void],
    walk: tuple[int, int, int],
    tables: Tables,
    width: int,
    weights: tuple[float, float],
    rate: float,
) -> float:
    """Take the steps `walk` = (first, end, stride) and return the sum of their losses.

    The loss of words i, j that meet X times is ½ f(X) (wᵢ·w̃ⱼ + bᵢ + b̃ⱼ − ln X)² with f(X) = min(1, (X ÷ most) **
    power); `weights` are most and power (Pennington et al. 2014, equation 8). AdaGrad divides each number's rate by
    the root of the sum of its squared gradients. Step k reads sample k · stride modulo 2 · pairs: each pair is two
    samples, for each of its words is the other's neighbour. Workers that write one row at the same time lose a
    little of one another's work (Niu et al. 2011).
    """
    words, neighbours, word_squares, neighbour_squares, biases, bias_squares = tables
    most, power, eta = np.float32(weights[0]), np.float32(weights[1]), np.float32(rate)
    samples = 2 * len(pairs)
    total = 0.0
    for step in range(walk[0], walk[1]):
        place = (step * walk[2]) % samples
        pair = pairs[place >> 1]
        i, j, times = pair["first"], pair["second"], pair["times"]
        if place & 1:
            i, j = j, i
            if i == j:
                continue
        elif i == j:
            times *= np.float32(2)
        left, right = i * width, j * width
        # Slices, for their indices are seen to be none from the end, which would hinder vector instructions.
        word, neighbour = words[left : left + width], neighbours[right : right + width]
        word_square, neighbour_square = (
            word_squares[left : left + width],
            neighbour_squares[right : right + width],
        )
        product = np.float32(0.0)
        for k in range(len(word)):
            product += word[k] * neighbour[k]
        error = product + biases[0, i] + biases[1, j] - np.log(times)
        weight = np.float32(1.0) if times >= most else (times / most) ** power
        push = weight * error
        total += 0.5 * push * error
        for k in range(len(word)):
            first, second = push * neighbour[k], push * word[k]
            word[k] -= eta * first / np.sqrt(word_square[k])
            neighbour[k] -= eta * second / np.sqrt(neighbour_square[k])
            word_square[k] += first * first
            neighbour_square[k] += second * second
        biases[0, i] -= eta * push / np.sqrt(bias_squares[0, i])
        biases[1, j] -= eta * push / np.sqrt(bias_squares[1, j])
        bias_squares[0, i] += push * push
        bias_squares[1, j] += push * push
    return total
