"""Word vectors that tests share, and where gensim keeps its own."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from rootlm.models.subwords import Subwords
from rootlm.models.word_vectors import WordVectors

WORDS = ["the", "北京", "naïve", "上海", "it's", "𠮷野家", "a", "new_york"]


def plain(words=WORDS, size=7, seed=0):
    """Return vectors of numbers of every magnitude."""
    generator = np.random.default_rng(seed)
    matrix = generator.normal(size=(len(words), size)) * 10.0 ** generator.integers(-6, 6, (len(words), size))
    return WordVectors(list(words), matrix.astype(np.float32))


def with_subwords(words=WORDS, size=7, seed=0, minimum=1, maximum=3, buckets=50):
    """Return vectors with n-grams, counts and outputs."""
    generator = np.random.default_rng(seed)
    own, grams, outputs = (
        generator.normal(size=(rows, size)).astype(np.float32) for rows in (len(words), buckets, len(words))
    )
    parts = Subwords(minimum, maximum, buckets, grams, own)
    counts = np.sort(generator.integers(5, 900, len(words)))[::-1].copy()
    settings = {"architecture": "cbow", "loss": "negative_sampling", "window": 3, "epochs": 7, "tokens": 5000}
    return WordVectors.of_subwords(list(words), parts, counts=counts, outputs=outputs, settings=settings)


def of_gensim(name):
    """Return a file that gensim ships with its tests, without importing it."""
    (folder,) = find_spec("gensim").submodule_search_locations
    return Path(folder) / "test" / "test_data" / name
