"""Word vectors as the beginning of a model's embedding: which tokens are words, and their rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rootlm.core.config import Config
from rootlm.models.interface import Network
from rootlm.models.vector_files import open_vectors
from rootlm.models.word_vectors import Floats
from rootlm.tokenizers.tokenizer import Tokenizer


class EmbeddingStart(Config):
    """Vectors that a model's embedding begins with."""

    path: str
    """A run of rootlm vectors, or a file of word vectors of any known kind."""
    frozen: bool = False
    """Keep the whole table as it is while all else learns."""
    scale: Literal["vectors", "table"] = "vectors"
    """Take the vectors as they are, or make them as large, on average, as the fresh rows they replace."""


@dataclass(frozen=True)
class Start:
    """The rows of an embedding that begin as word vectors."""

    asked: EmbeddingStart
    ids: tuple[int, ...]
    """Tokens that are words of the vectors."""
    rows: Floats
    """Their vectors (ids, size)."""
    tokens: int
    """Tokens that could be words: all but the special ones."""

    @property
    def sentence(self) -> str:
        """What a person is told."""
        fate = "frozen" if self.asked.frozen else "learning on"
        rest = "" if len(self.ids) == self.tokens else "; all others begin at random"
        share = len(self.ids) / self.tokens
        return (
            f"the embedding begins with {self.asked.path}: {len(self.ids):,} of {self.tokens:,} tokens ({share:.1%}) "
            f"are among its words, {fate}{rest}"
        )

    def check(self, model: Network) -> None:
        """Raise ValueError for a model without an embedding, of another width, or frozen where it is the head's too."""
        table, kind = model.input_table, model.config.kind
        width, size = table.embedding_dim, self.rows.shape[1]
        if width != size:
            key = "embedding_size" if "embedding_size" in type(model.config).model_fields else "hidden_size"
            raise ValueError(
                f"{self.asked.path}: has vectors of {size:,} numbers, the embedding of model.kind={kind} has "
                f"{width:,}; set model.{key}={size}, or train vectors with size={width}"
            )
        if self.asked.frozen and _owners(model, table.weight) > 1:
            raise ValueError(
                f"embedding.frozen: the embedding of this model.kind={kind} is its head's matrix too, which could "
                "then not learn; set model.tied=false, or embedding.frozen=false"
            )

    def fill(self, model: Network) -> None:
        """Put the vectors into a model's embedding; raises ValueError as `check` does."""
        self.check(model)
        table = model.input_table
        rows = torch.from_numpy(np.array(self.rows)).to(table.weight)
        with torch.no_grad():
            if self.asked.scale == "table":
                rows *= table.weight.square().mean().sqrt() / rows.square().mean().sqrt().clamp_min(1e-12)
            table.weight[list(self.ids)] = rows
        if self.asked.frozen:
            table.weight.requires_grad_(False)


def start_of(asked: EmbeddingStart | None, tokenizer: Tokenizer) -> Start | None:
    """Return what an embedding begins with, where anything is asked."""
    return None if asked is None else read_start(asked, tokenizer)


def read_start(asked: EmbeddingStart, tokenizer: Tokenizer) -> Start:
    """Find the tokens that are words of the vectors; raises ValueError when there are none.

    A token that begins with a space is the word after it.
    """
    vectors, _ = open_vectors(Path(asked.path))
    known = [i for i in range(tokenizer.vocab_size) if tokenizer.knows(i) and i not in tokenizer.special_ids]
    names = [tokenizer.token_text(token).strip() for token in known]
    rows = vectors.rows(names)
    found = np.flatnonzero(rows >= 0)
    if not len(found):
        raise ValueError(
            f"{asked.path}: none of the {len(known):,} tokens, such as {names[len(names) // 2]!r}, is among its "
            f"{len(vectors):,} words; take a tokenizer of words (tokenizer.kind=word), or vectors of this language"
        )
    ids = tuple(known[int(place)] for place in found)
    return Start(asked, ids, np.asarray(vectors.matrix[rows[found]]), len(known))


def _owners(model: Network, weight: Tensor) -> int:
    """Return how many parts of a model have this matrix."""
    return sum(own is weight for part in model.modules() for own in part.parameters(recurse=False))
