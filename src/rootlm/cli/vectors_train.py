"""rootlm vectors train TEXT… out=RUN [kind=word2vec|fasttext|glove|fasttext_classifier] [size=100] [key=value …]

Learns word vectors from files that have spaces between words and a sentence on each line, which are read fastest, or
from a corpus of rootlm data prepare, which is cut into words first: Chinese by dictionary, English by letters. The
run folder holds the vectors; the other verbs of rootlm vectors read it. A fasttext_classifier reads lines with
labels, __label__good and the words of a text, and is asked by rootlm vectors classify; it has size, loss (softmax,
hierarchical_softmax, one_versus_all), word_ngrams, minimum and maximum (0: no character n-grams), buckets,
min_count=1, learning_rate=0.1, epochs, threads and seed.

  rootlm vectors train words.txt out=runs/vectors kind=word2vec architecture=skip_gram size=100 epochs=5
  rootlm vectors train labelled.txt out=runs/sentiment kind=fasttext_classifier word_ngrams=2 epochs=10
  rootlm vectors train corpora/news out=runs/news kind=fasttext text.lower=true
"""

from __future__ import annotations

from pathlib import Path

from rootlm.cli.arguments import parse
from rootlm.core.config import Config, load
from rootlm.core.mistakes import nearest
from rootlm.runs.vectors_text import VectorsText
from rootlm.training.word_vector_settings import ClassifierConfig, FastTextConfig, GloveConfig, Word2VecConfig

KINDS: dict[str, type[Word2VecConfig | GloveConfig | ClassifierConfig]] = {
    "word2vec": Word2VecConfig,
    "fasttext": FastTextConfig,
    "glove": GloveConfig,
    "fasttext_classifier": ClassifierConfig,
}


class Verb(Config):
    """The verb's own words."""

    corpus: tuple[str, ...] = ()
    """Files of words apart, a sentence a line, or corpora."""
    out: str
    """The run folder."""
    kind: str = "word2vec"
    """What is learned: word2vec; fasttext, which has vectors for unseen words too; fasttext_classifier."""
    text: VectorsText = VectorsText()
    """How words are read."""


class Settings(FastTextConfig, Verb):
    """All that can be set; n-grams and buckets are fasttext's, which begins at the rate 0.05, word2vec at 0.025."""

    kind: str = "word2vec"  # type: ignore[assignment]
    """What is learned: word2vec, or fasttext, which has vectors for unseen words too."""


def run(tokens: list[str]) -> None:
    """Train and print what was read."""
    own, overrides = parse(tokens, Verb, ["corpus*"], rest=Settings)
    if own.kind not in KINDS:
        raise ValueError(f"unknown kind {own.kind}; {nearest(own.kind, KINDS)}")
    model = load(KINDS[own.kind], None, overrides)
    from rootlm.runs.vectors_run import VectorsRecipe, train

    train(VectorsRecipe(corpus=own.corpus, text=own.text, model=model), Path(own.out), print)
