"""How models are fitted that learn in one pass over the text, by their kind; all others learn by gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rootlm.models.interface import Network
from rootlm.models.network_config import NetworkConfig


class Fitter(Protocol):
    """Reads documents once and gives a network its weights."""

    def __call__(
        self,
        model: Network,
        pieces: Iterable[tuple[NDArray[np.integer], NDArray[np.int64]]],
        marks: tuple[int, int],
        say: Callable[[str], None],
        /,
    ) -> None:
        """Fit `model` to pieces (ids, offsets): whole documents with their end marks; say what was replaced."""


def _ngram(
    model: Network,
    pieces: Iterable[tuple[NDArray[np.integer], NDArray[np.int64]]],
    marks: tuple[int, int],
    say: Callable[[str], None],
) -> None:
    from rootlm.training.ngram_fitting import fit  # what it imports compiles

    fit(model, pieces, marks, say)


FITTERS: dict[str, Fitter] = {"ngram": _ngram}


def fitter(config: NetworkConfig) -> Fitter | None:
    """Return what fits models of this kind in one pass; None where a trainer does it step by step."""
    return FITTERS.get(config.kind)
