"""What is taken out of documents because other documents of the corpus hold it too: lines, and long passages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rootlm.core.config import Config


class RepeatedLines(Config):
    """Take out lines that stand in several documents: menus, notices, signatures.

    Lines are the same when they differ in case, spaces and width at most. Removing paragraphs that were seen
    before is CCNet's way (Wenzek et al. 2020, "CCNet: Extracting High Quality Monolingual Datasets from Web
    Crawl Data"); C4 took spans of three sentences (Raffel et al. 2020, "Exploring the Limits of Transfer
    Learning with a Unified Text-to-Text Transformer").
    """

    min_characters: Annotated[int, Field(gt=0)] = 20
    """Shorter lines stay; spaces do not count."""
    han_counts: Annotated[int, Field(gt=0)] = 2
    """As how many characters a Han character counts: ten make a line, so half a couplet of verse stays."""
    documents: Annotated[int, Field(ge=2)] = 3
    """In how many documents a line must stand."""
    keep: Literal["first", "none"] = "first"
    """Which document may keep the line: the first of the corpus, or none."""


class RepeatedSubstrings(Config):
    """Take out passages that stand in the corpus before, letter by letter; the first occurrence stays.

    Lee et al. (2022, "Deduplicating Training Data Makes Language Models Better") took 50 tokens, which are
    about 200 letters of English.
    """

    min_characters: Annotated[int, Field(ge=8)] = 200
    """Shorter passages stay."""
    han_counts: Annotated[int, Field(ge=1, le=4)] = 3
    """As how many characters a Han character counts: a translation needs about a third as many; 67 are 50 tokens."""


class Repeats(Config):
    """Take out what stands in other documents too, before duplicates are looked for."""

    lines: RepeatedLines | None = None
    """Lines of several documents."""
    substrings: RepeatedSubstrings | None = None
    """Long passages that stand in the corpus twice; looked for in what is left after `lines`."""

    @property
    def names(self) -> list[str]:
        """The names of the steps that are asked for, in the order they run."""
        return [f"repeated_{name}" for name in ("lines", "substrings") if getattr(self, name)]
