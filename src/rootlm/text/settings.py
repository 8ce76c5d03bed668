"""All that can be set for a corpus, and the steps that a document passes by itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rootlm.core.config import Config, Plain, to_plain
from rootlm.text.duplicates import Duplicates
from rootlm.text.language import Language
from rootlm.text.normalise import Normalise
from rootlm.text.quality import Quality
from rootlm.text.reading import Reading
from rootlm.text.redact import Redact
from rootlm.text.repair import Repair
from rootlm.text.sources import Source
from rootlm.text.split import Split
from rootlm.text.treatment import Treatment

_MAKE_NO_DIFFERENCE = ("workers", "memory_megabytes")


class Prepare(Config):
    """What becomes of raw text. A step that is null is left out."""

    sources: tuple[Source, ...] = ()
    """Where the text comes from: files, folders or globs, each with name, licence and origin."""
    read: Reading = Reading()
    """How files become documents."""
    repair: Repair | None = Repair()
    """Undo wrong decoding, entities and control characters; Chinese punctuation stays."""
    normalise: Normalise | None = Normalise()
    """Write the same text in one way: NFC, line ends, spaces, blank lines."""
    redact: Redact | None = None
    """Replace personal data (e-mail, phone, ID and bank cards …) by marks or pseudonyms, in text and meta."""
    language: Language | None = Language()
    """Tell the language; keep those that are wanted."""
    quality: Quality | None = Quality()
    """Drop what is hardly text."""
    duplicates: Duplicates = Duplicates()
    """Drop what was read before."""
    split: Split = Split()
    """Hold out documents for validation and test."""
    shard_bytes: Annotated[int, Field(gt=0)] = 64_000_000
    """Size of one file of the corpus before packing."""
    workers: Annotated[int, Field(gt=0)] | None = None
    """Processes that treat documents; null: all cores that `memory_megabytes` allows, one for less than 16 MB."""
    memory_megabytes: Annotated[int, Field(ge=256)] = 1024
    """What all processes together may take above what importing takes. The result is the same."""

    def treatment(self) -> Treatment:
        """Return the steps that a document passes by itself."""
        rewrites = {"repair": self.repair, "normalise": self.normalise, "redact": self.redact}
        labels = {"language": self.language.label()} if self.language else {}
        rules = {"language": self.language, "quality": self.quality}
        return Treatment(
            {name: step.build() for name, step in rewrites.items() if step},
            labels,
            {name: step.build() for name, step in rules.items() if step},
        )

    def recorded(self) -> Plain:
        """Return the settings that make a difference to the result."""
        return {name: value for name, value in to_plain(self).items() if name not in _MAKE_NO_DIFFERENCE}

    def treating(self) -> Plain:
        """Return the settings that make a difference to what becomes of a document by itself."""
        others = ("sources", "read", "split", "shard_bytes")
        plain = {name: value for name, value in self.recorded().items() if name not in others}
        signatures = [self.duplicates.bands, self.duplicates.rows]
        return {**plain, "duplicates": signatures, "stratify": self.split.stratify}
