"""Vectors on a plane: where each of some words lies when many numbers become two."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rootlm.models.vector_queries import unit
from rootlm.models.word_vectors import Floats

Projection = Literal["pca", "tsne", "umap"]
"""Principal components, or neighbours kept near one another by t-SNE or UMAP."""


def project(vectors: Floats, how: Projection = "pca", seed: int = 0) -> NDArray[np.float64]:
    """Return a place for each vector (words, 2), by directions alone; raises ValueError where a package is missing.

    t-SNE is van der Maaten and Hinton 2008, by scikit-learn; UMAP is McInnes et al. 2018, by umap-learn.
    """
    if len(vectors) < 3:
        raise ValueError(f"{len(vectors)} words make no picture; give three or more")
    units = unit(vectors)
    if how == "pca":
        return principal(units)
    reducer = _tsne(len(units), seed) if how == "tsne" else _umap(len(units), seed)
    return np.asarray(reducer.fit_transform(units), np.float64)


def principal(vectors: Floats) -> NDArray[np.float64]:
    """Return the first two principal components (words, 2); their signs make the largest weight positive."""
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2]
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    places = np.zeros((len(vectors), 2))
    places[:, : len(axes)] = centred @ (axes * signs[:, None]).T
    return places


def _tsne(words: int, seed: int) -> Any:
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        raise ValueError(
            "method=tsne needs scikit-learn; pip install 'rootlm[vectors]', or set method=pca"
        ) from None
    return TSNE(2, perplexity=min(30.0, (words - 1) / 3), init="pca", metric="cosine", random_state=seed)


def _umap(words: int, seed: int) -> Any:
    try:
        from umap import UMAP
    except ImportError:
        raise ValueError(
            "method=umap needs umap-learn; pip install 'rootlm[umap]', or set method=tsne"
        ) from None
    return UMAP(n_neighbors=min(15, words - 1), metric="cosine", random_state=seed)
