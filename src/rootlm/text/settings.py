"""All that can be set for a corpus, and the steps that a document passes by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from rootlm.core.config import Config, Plain, to_plain
from rootlm.core.files import sha256
from rootlm.text.augmentation.augmented_copies import Augment
from rootlm.text.copies.duplicates import Duplicates
from rootlm.text.copies.repeat_settings import Repeats
from rootlm.text.personal.pseudonyms import Pseudonyms
from rootlm.text.personal.redact import Redact
from rootlm.text.raw.parallel import PAIR, still_a_pair
from rootlm.text.raw.reading import Reading
from rootlm.text.sources import Source, find
from rootlm.text.split import Split
from rootlm.text.steps.c4 import C4Lines, C4Quality
from rootlm.text.steps.contamination import Contamination
from rootlm.text.steps.fineweb import FineWebQuality
from rootlm.text.steps.gopher import GopherQuality
from rootlm.text.steps.han_variants import HanVariants
from rootlm.text.steps.language import Language
from rootlm.text.steps.normalise import Normalise
from rootlm.text.steps.perplexity import Perplexity
from rootlm.text.steps.quality import Quality
from rootlm.text.steps.repair import Repair
from rootlm.text.steps.repetition import GopherRepetition
from rootlm.text.steps.scripts import Scripts
from rootlm.text.steps.widths import Widths
from rootlm.text.steps.word_list import WordList
from rootlm.text.treatment import Treatment

_MAKE_NO_DIFFERENCE = ("workers", "memory_megabytes")
_REWRITES = ("repair", "normalise", "widths", "han_variants", "c4_lines", "redact")
# Cheap ones first; those that cut a text into words side by side, for they share the words.
_RULES = (
    "language",
    "quality",
    "scripts",
    "fineweb",
    "gopher",
    "repetition",
    "c4",
    "word_list",
    "contamination",
    "perplexity",
)


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
    widths: Widths | None = None
    """Write letters, digits and, if wanted, punctuation in one width."""
    han_variants: HanVariants | None = None
    """Write Chinese in simplified or in traditional characters (extra `chinese`)."""
    c4_lines: C4Lines | None = None
    """Keep the lines that are sentences, as C4 does."""
    redact: Redact | None = None
    """Replace personal data (e-mail, phone, ID and bank cards …) by marks or pseudonyms, in text and meta."""
    language: Language | None = Language()
    """Tell the language; keep those that are wanted."""
    quality: Quality | None = Quality()
    """Drop what is hardly text."""
    scripts: Scripts | None = None
    """Drop what is written in other scripts, or in mixed ones."""
    fineweb: FineWebQuality | None = None
    """FineWeb's limits for pages of the web."""
    gopher: GopherQuality | None = None
    """Gopher's limits on prose."""
    repetition: GopherRepetition | None = None
    """Gopher's limits on repetition."""
    c4: C4Quality | None = None
    """C4's limits."""
    word_list: WordList | None = None
    """Drop documents with unwanted words."""
    contamination: Contamination | None = None
    """Drop documents that hold passages of test sets."""
    perplexity: Perplexity | None = None
    """Drop documents that a language model finds too surprising, or hardly surprising."""
    repeats: Repeats = Repeats()
    """Take out lines and long passages that stand in other documents too."""
    duplicates: Duplicates = Duplicates()
    """Drop what was read before."""
    split: Split = Split()
    """Hold out documents for validation and test."""
    augment: Augment | None = None
    """Changed copies of the documents to train on; validation and test stay as people wrote them."""
    shard_bytes: Annotated[int, Field(gt=0)] = 64_000_000
    """Size of one file of the corpus before packing."""
    workers: Annotated[int, Field(gt=0)] | None = None
    """Processes that treat documents; null: all cores that `memory_megabytes` allows, one for less than 16 MB."""
    memory_megabytes: Annotated[int, Field(ge=256)] = 1024
    """What all processes together may take above what importing takes. The result is the same."""

    def merged(self) -> Prepare:
        """Return the settings with each source's own reading laid over the one of all."""
        sources = tuple(
            source if source.read is None else source.model_copy(update={"read": self._over(source.read)})
            for source in self.sources
        )
        return self.model_copy(update={"sources": sources})

    def _over(self, own: Reading) -> Reading:
        return self.read.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})

    def treatment(self) -> Treatment:
        """Return the steps that a document passes by itself."""
        labels = {"language": self.language.label()} if self.language else {}
        own = {PAIR: still_a_pair} if self._holds_pairs else {}
        return Treatment(self._built(_REWRITES), labels, {**own, **self._built(_RULES)})

    @property
    def step_names(self) -> list[str]:
        """The names of the steps that change or drop a document by itself, in the order they run."""
        rewrites, rules = (
            [name for name in names if getattr(self, name) is not None] for names in (_REWRITES, _RULES)
        )
        return [*rewrites, *([PAIR] if self._holds_pairs else []), *rules]

    @property
    def _holds_pairs(self) -> bool:
        readings = [self.read, *(source.read for source in self.sources if source.read is not None)]
        return any(source.target for source in self.sources) or any(reading.pair for reading in readings)

    def _built(self, names: Sequence[str]) -> dict[str, Any]:
        steps = {name: getattr(self, name) for name in names}
        return {name: step.build() for name, step in steps.items() if step is not None}

    def recorded(self) -> Plain:
        """Return the settings that make a difference to the result."""
        plain = {name: value for name, value in to_plain(self).items() if name not in _MAKE_NO_DIFFERENCE}
        return {**plain, "lists": self._lists(), "redaction_key": self._key_sign()}

    def _key_sign(self) -> str | None:
        """Return what tells two keys of pseudonyms apart, and tells nothing else of them."""
        replacement = self.redact.replacement if self.redact else None
        return replacement.sign() if isinstance(replacement, Pseudonyms) else None

    def _lists(self) -> dict[str, str]:
        """Return the SHA-256 of every file that a step reads: another list, another corpus."""
        files = [Path(file) for file in (self.word_list.files if self.word_list else ())]
        files += self.perplexity.files if self.perplexity else []
        if self.contamination:
            sources = [
                Source(path=path, name=str(index)) for index, path in enumerate(self.contamination.files)
            ]
            files += [file for origin in find(sources, Path(), lambda _: None) for file in origin.files]
        try:
            return {str(file): sha256(file) for file in files}
        except OSError as error:
            raise ValueError(
                f"{error.filename}: cannot be read ({error.strerror}); name one that is there"
            ) from error

    def treating(self) -> Plain:
        """Return the settings that make a difference to what becomes of a document by itself."""
        others = ("sources", "read", "repeats", "split", "augment", "shard_bytes")
        plain = {name: value for name, value in self.recorded().items() if name not in others}
        signatures = [self.duplicates.bands, self.duplicates.rows]
        split = {"stratify": self.split.stratify, "together": self.split.together, PAIR: self._holds_pairs}
        return {**plain, "duplicates": signatures, **split}
