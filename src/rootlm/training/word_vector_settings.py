"""What can be set of word vectors, by kind."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rootlm.core.config import Config


class Word2VecConfig(Config):
    """Vectors that tell a word's neighbours (Mikolov et al. 2013)."""

    kind: Literal["word2vec"] = "word2vec"
    """A row for each word."""
    architecture: Literal["skip_gram", "cbow"] = "skip_gram"
    """Whether each neighbour and the word tell one another, or the mean of all neighbours tells the word."""
    size: int = Field(100, ge=1)
    """Numbers of a vector."""
    window: int = Field(5, ge=1)
    """The most words between a word and a neighbour, and one; how many are taken is drawn for each word."""
    loss: Literal["negative_sampling", "hierarchical_softmax"] = "negative_sampling"
    """Whether a word is told from words drawn at random or by its way through Huffman's tree."""
    negatives: int = Field(5, ge=1)
    """Words drawn at random for each that is told."""
    share_negatives: bool = False
    """Draw them once for all neighbours of a word (Ji et al. 2016): faster; vectors of small texts are worse."""
    sample: float = Field(1e-3, ge=0)
    """Words whose share of the text is greater are left out at random, the oftener the more frequent; 0: none."""
    min_count: int = Field(5, ge=1)
    """Words that occur less often are left out."""
    learning_rate: float = Field(0.025, gt=0)
    """The rate at the beginning; it falls evenly."""
    last_learning_rate: float = Field(0.0001, ge=0)
    """The rate at the end."""
    epochs: int = Field(5, ge=1)
    """How often the text is read."""
    threads: int | None = Field(None, ge=1)
    """Workers that learn at the same time without waiting; one gives the same bytes every time. None: every core."""
    seed: int = Field(1, ge=0)
    """The beginning of all that is random."""

    @model_validator(mode="after")
    def _falls(self) -> Word2VecConfig:
        if self.last_learning_rate > self.learning_rate:
            raise ValueError(
                f"last_learning_rate={self.last_learning_rate:g} is above learning_rate={self.learning_rate:g}; "
                "set it lower"
            )
        return self


class FastTextConfig(Word2VecConfig):
    """Vectors of words that are made of their character n-grams' too (Bojanowski et al. 2017)."""

    kind: Literal["fasttext"] = "fasttext"  # type: ignore[assignment]
    """A row for each word, and rows that the n-grams share."""
    minimum: int | None = Field(None, ge=1)
    """Characters of the shortest n-gram, the marks < and > at the word's ends counted. None: 3, for Chinese 2."""
    maximum: int | None = Field(None, ge=1)
    """Characters of the longest n-gram. None: 6, for Chinese 3."""
    buckets: int | None = Field(None, ge=1)
    """Rows that the n-grams share; their hash says which. None: four for each n-gram of the vocabulary."""
    learning_rate: float = Field(0.05, gt=0)
    """The rate at the beginning; it falls evenly."""

    @model_validator(mode="after")
    def _ordered(self) -> FastTextConfig:
        if (self.maximum is None) != (self.minimum is None):
            raise ValueError(f"minimum={self.minimum}, maximum={self.maximum}: set both, or neither")
        if self.maximum is not None and self.minimum is not None and self.maximum < self.minimum:
            raise ValueError(f"maximum={self.maximum} is below minimum={self.minimum}; set maximum higher")
        return self


class GloveConfig(Config):
    """Vectors whose products are the logarithms of how often words meet (Pennington et al. 2014)."""

    kind: Literal["glove"] = "glove"
    """A row for each word: the sum of its two vectors, as a word and as a neighbour."""
    size: int = Field(100, ge=1)
    """Numbers of a vector."""
    window: int = Field(10, ge=1)
    """The most words between a word and a neighbour, and one; a neighbour d words away counts 1/d."""
    most: float = Field(100.0, gt=0)
    """Pairs that meet as often, or more often, have the full weight (x_max)."""
    power: float = Field(0.75, gt=0, le=1)
    """Those that meet more rarely weigh (x ÷ most) ** power."""
    min_count: int = Field(5, ge=1)
    """Words that occur less often are left out."""
    learning_rate: float = Field(0.05, gt=0)
    """AdaGrad's rate."""
    epochs: int = Field(25, ge=1)
    """How often all pairs are read."""
    memory_mb: int = Field(1000, ge=1)
    """Memory for counting; what does not fit is sorted on disk."""
    threads: int | None = Field(None, ge=1)
    """Workers that learn at the same time without waiting; one gives the same bytes every time. None: every core."""
    seed: int = Field(1, ge=0)
    """The beginning of all that is random."""


class ClassifierConfig(Config):
    """A text's label from the mean of its words' vectors (Joulin et al. 2017)."""

    kind: Literal["fasttext_classifier"] = "fasttext_classifier"
    """Rows for words, labels, and n-grams if there are any."""
    size: int = Field(100, ge=1)
    """Numbers of a vector."""
    loss: Literal["softmax", "hierarchical_softmax", "one_versus_all"] = "softmax"
    """One label of all; the same by a tree, for many labels; each label by itself, where a text has several."""
    word_ngrams: int = Field(1, ge=1)
    """Words of the longest word n-gram."""
    minimum: int = Field(0, ge=0)
    """Characters of the shortest character n-gram."""
    maximum: int = Field(0, ge=0)
    """Characters of the longest character n-gram; 0: none."""
    buckets: int | None = Field(None, ge=1)
    """Rows that n-grams share; their hash says which. None: four for each n-gram of the text."""
    min_count: int = Field(1, ge=1)
    """Words that occur less often have no row of their own."""
    learning_rate: float = Field(0.1, gt=0)
    """The rate at the beginning; it falls evenly to 0."""
    epochs: int = Field(5, ge=1)
    """How often the text is read."""
    threads: int | None = Field(None, ge=1)
    """Workers that learn at the same time without waiting; one gives the same bytes every time. None: every core."""
    seed: int = Field(1, ge=0)
    """The beginning of all that is random."""

    @model_validator(mode="after")
    def _ordered(self) -> ClassifierConfig:
        if self.maximum and not 1 <= self.minimum <= self.maximum:
            raise ValueError(
                f"minimum={self.minimum}, maximum={self.maximum}: set both, 1 ≤ minimum ≤ maximum, or maximum=0"
            )
        return self
