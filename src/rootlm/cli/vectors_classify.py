"""usage: rootlm vectors classify RUN TEXT… [k=1] [threshold=0]
usage: rootlm vectors classify RUN file=FILE [k=1] [threshold=0]
usage: rootlm vectors classify RUN test=FILE [k=1] [threshold=0]

Prints the likeliest labels of texts with their probabilities: of those given here, or of each line of a file. A test
file has lines with labels, as training has; printed are precision and recall of the k likeliest. RUN is a classifier
of rootlm vectors train, or a .bin of fastText's.

  rootlm vectors classify runs/sentiment "a fine film" k=2
  rootlm vectors classify runs/sentiment test=held_out.txt
"""

from __future__ import annotations

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """What to classify."""

    run: str
    """A run of a classifier, or fastText's own file."""
    texts: tuple[str, ...] = ()
    """Texts to classify."""
    file: str | None = None
    """A file with a text on each line."""
    test: str | None = None
    """A file with labels and a text on each line."""
    k: int = Field(1, ge=1)
    """How many labels of each text."""
    threshold: float = Field(0.0, ge=0, le=1)
    """Labels less probable are left out."""


def run(tokens: list[str]) -> None:
    """Print labels, or how good they are."""
    settings, _ = parse(tokens, Settings, ["run", "texts*"])
    from rootlm.models.text_classifier import TextClassifier
    from rootlm.runs.classified import classified, tested
    from rootlm.runs.opened_vectors import vectors_of

    asked = [name for name in ("texts", "file", "test") if getattr(settings, name)]
    if len(asked) != 1:
        raise ValueError("give texts, or file=…, or test=…: one of them")
    classifier = TextClassifier(vectors_of(settings.run))
    if settings.test:
        judged = tested(classifier, settings.test, settings.k, settings.threshold)
        print(
            f"{judged.texts:,} texts\tprecision at {settings.k}: {judged.precision:.4f}\t"
            f"recall at {settings.k}: {judged.recall:.4f}"
        )
        return
    for guesses in classified(classifier, settings.file or settings.texts, settings.k, settings.threshold):
        print("  ".join(f"{guess.label} {guess.probability:.4f}" for guess in guesses) or "—")
