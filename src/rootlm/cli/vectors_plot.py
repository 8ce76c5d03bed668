"""usage: rootlm vectors plot RUN out=FILE.html|FILE.png [words=[…]|words=FILE|words=300] [method=pca|tsne|umap]

Draws words as points on a plane. The page can be moved, enlarged and searched and needs nothing else; the PNG takes
matplotlib and a font with the words' glyphs.

  rootlm vectors plot runs/news out=news.html words=500 method=tsne
  rootlm vectors plot runs/news out=cities.png words=[北京,上海,东京,巴黎]
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config
from rootlm.models.vector_map import Projection


class Settings(Config):
    """What to draw."""

    run: str
    """A run, or a file of word vectors."""
    out: str
    """The picture, .html or .png."""
    words: int | list[str] | str = 300
    """How many of the first, most frequent, words; or a list; or a file with a word on each line."""
    method: Projection = "pca"
    """pca is exact and quick; tsne (scikit-learn) and umap (umap-learn) keep neighbours together."""
    seed: int = Field(0, ge=0)
    """The beginning of what is random in tsne and umap."""


def run(tokens: list[str]) -> None:
    """Draw the picture and print where it is."""
    settings, _ = parse(tokens, Settings, ["run"])
    from rootlm.evaluation.word_similarity import lines_of
    from rootlm.runs.opened_vectors import vectors_of
    from rootlm.runs.vectors_picture import places_of, write_picture

    vectors = vectors_of(settings.run)
    if isinstance(settings.words, int):
        words = list(vectors.words[: settings.words])
    elif isinstance(settings.words, str):
        words = [line.strip() for line in lines_of(Path(settings.words)) if line.strip()]
    else:
        words = list(settings.words)
    words = list(dict.fromkeys(words))
    out = Path(settings.out)
    write_picture(
        places_of(vectors, words, settings.method, settings.seed),
        settings.method,
        Path(settings.run).name,
        out,
    )
    print(f"{out}: {len(words):,} words")
