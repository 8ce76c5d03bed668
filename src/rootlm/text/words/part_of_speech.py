"""Parts of speech: Chinese by rjieba, English by the rules of Brill's tagger, in their own tags or universal ones."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from typing import Any, Literal, NamedTuple

from rootlm.core.config import Config
from rootlm.text.words.segment import Piece, Segmenter

_MARK, _NUMBER, _UNKNOWN, _ADDRESS, _DEFAULT = "w", "m", "x", "ADD", "NN"
_LATIN = re.compile(r"[^\W\d_]")
# The tags of ICTCLAS, which jieba has, by their first letter, longer ones before.
_FROM_CHINESE = {
    **dict.fromkeys(("nr", "ns", "nt", "nz"), "PROPN"),
    "an": "NOUN",
    "ad": "ADV",
    "vd": "ADV",
    "vn": "NOUN",
    "eng": "X",
    **dict.fromkeys(("n", "t", "s", "f", "q", "j"), "NOUN"),
    **dict.fromkeys(("a", "b", "z"), "ADJ"),
    **dict.fromkeys(("u", "y", "h", "k"), "PART"),
    "v": "VERB",
    "d": "ADV",
    "r": "PRON",
    "m": "NUM",
    "p": "ADP",
    "c": "CCONJ",
    "e": "INTJ",
    "w": "PUNCT",
}
# The tags of the Penn Treebank (Marcus et al. 1993), which Brill's tagger has.
_FROM_PENN = {
    **dict.fromkeys(("NNP", "NNPS"), "PROPN"),
    **dict.fromkeys(("NN", "NNS"), "NOUN"),
    **dict.fromkeys(("VB", "VBD", "VBG", "VBN", "VBP", "VBZ"), "VERB"),
    **dict.fromkeys(("JJ", "JJR", "JJS"), "ADJ"),
    **dict.fromkeys(("RB", "RBR", "RBS", "WRB"), "ADV"),
    **dict.fromkeys(("PRP", "WP", "EX"), "PRON"),
    **dict.fromkeys(("DT", "PDT", "WDT", "PRP$", "WP$"), "DET"),
    **dict.fromkeys(("POS", "TO", "RP"), "PART"),
    "MD": "AUX",
    "IN": "ADP",
    "CC": "CCONJ",
    "CD": "NUM",
    "UH": "INTJ",
    "$": "SYM",
    "SYM": "SYM",
}


class Tagged(NamedTuple):
    """A word and its part of speech."""

    word: str
    tag: str


class PartOfSpeech(Config):
    """How words get their parts of speech."""

    tagset: Literal["native", "universal"] = "native"
    """Tags of jieba (ICTCLAS) for Chinese and of the Penn Treebank for English, or the universal ones of
    Universal Dependencies (https://universaldependencies.org/u/pos/) for both."""

    def build(self, segmenter: Segmenter) -> Tagger:
        """Return the tagger; raises ValueError when what tags English is not installed."""
        _english()
        return Tagger(segmenter, self.tagset == "universal")


class Tagger:
    """Cuts text into words and tells what part of speech each is."""

    def __init__(self, segmenter: Segmenter, universal: bool) -> None:
        self._segmenter = segmenter
        self._universal = universal

    def tag(self, sentence: str) -> list[Tagged]:
        """Return words and marks with their tags; English words are judged beside their neighbours.

        >>> from rootlm.text.words.segment import Segment
        >>> tagger = PartOfSpeech().build(Segment().build())
        >>> " ".join("/".join(tagged) for tagged in tagger.tag("我爱北京。 The mice ran."))
        '我/r 爱/v 北京/ns 。/w The/DT mice/NNS ran/VBD ./.'
        """
        found: list[Tagged] = []
        for is_english, run in groupby(self._segmenter.tagged(sentence), key=_is_english):
            pieces = list(run)
            found += self._tag_english(pieces) if is_english else self._tag_chinese(pieces)
        return found

    def _tag_chinese(self, pieces: Sequence[Piece]) -> Iterator[Tagged]:
        for piece in pieces:
            tag = piece.tag or _UNKNOWN if any(map(str.isalnum, piece.text)) else _MARK
            yield Tagged(piece.text, from_chinese(tag) if self._universal else tag)

    def _tag_english(self, pieces: Sequence[Piece]) -> Iterator[Tagged]:
        words = [piece.text for piece in pieces]
        if not any(map(_LATIN.search, words)):
            yield from self._tag_chinese([Piece(word, _NUMBER, "") for word in words])
            return
        for piece, (_, found) in zip(
            pieces, _english().find_tags([word.replace("’", "'") for word in words]), strict=True
        ):
            tag = _ADDRESS if piece.kind == "address" else found or _DEFAULT
            yield Tagged(piece.text, from_penn(tag, piece.text) if self._universal else tag)


def from_chinese(tag: str) -> str:
    """Return the universal tag of one of jieba's; idioms and what is unknown are `X`.

    >>> [from_chinese(tag) for tag in ("nrt", "v", "uj", "i")]
    ['PROPN', 'VERB', 'PART', 'X']
    """
    return next((_FROM_CHINESE[tag[:size]] for size in (3, 2, 1) if tag[:size] in _FROM_CHINESE), "X")


def from_penn(tag: str, word: str) -> str:
    """Return the universal tag of one of the Penn Treebank's.

    >>> from_penn("VBD", "ran"), from_penn(".", "!"), from_penn("FW", "et")
    ('VERB', 'PUNCT', 'X')
    """
    if tag in _FROM_PENN:
        return _FROM_PENN[tag]
    return "X" if any(map(str.isalnum, word)) else "PUNCT"


def _is_english(piece: Piece) -> bool:
    """Say whether a piece belongs to a run of English: no Chinese word, and no Chinese mark."""
    return piece.tag == "eng" or piece.kind in ("word", "address") or (not piece.tag and piece.text.isascii())


@cache
def _english() -> Any:
    """Return the tagger of textblob, which reads its lexicon once."""
    try:
        from textblob import en
    except ImportError as error:
        raise ValueError(
            'parts of speech of English need textblob; install it with pip install "rootlm[words]"'
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files to the garbage collector
        en.parser.find_tags(["once"])
    return en.parser
