"""rootlm data report CORPUS [out=FILE] [measured_characters=20000000]

Writes one self-contained page about a corpus (lengths, languages, sources, what each step dropped with examples,
vocabulary growth, what stricter limits would drop, licences) and its data card. Without `out` both stand in the
corpus's folder, as report.html and card.md.

  rootlm data report corpora/mine
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from rootlm.cli.arguments import parse
from rootlm.core.config import Config


class Settings(Config):
    """All that can be set."""

    corpus: str
    """The folder of the corpus."""
    out: str | None = None
    """The file of the page; the card is written beside it."""
    measured_characters: Annotated[int, Field(gt=0)] = 20_000_000
    """How much of the training split is measured."""


def run(tokens: list[str]) -> None:
    """Write the page and the card of a corpus."""
    settings, _ = parse(tokens, Settings, ["corpus"])
    from rootlm.text.corpus import Corpus
    from rootlm.text.corpus_report import REPORT, report
    from rootlm.text.data_card import CARD, card

    corpus = Corpus.open(Path(settings.corpus))
    page = report(corpus, Path(settings.out or corpus.folder / REPORT), settings.measured_characters)
    print(f"the report is {page}")
    print(f"the data card is {card(corpus, page.with_name(CARD))}")
