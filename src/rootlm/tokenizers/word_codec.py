"""Whole words as tokens, one space between words implied: cut by rjieba and by letters, or at the spaces."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rootlm.text.words.segment import HAN
from rootlm.tokenizers.plain_text import not_text
from rootlm.tokenizers.stream_decoder import StreamDecoder

Cut = Literal["rjieba", "spaces"]
UNKNOWN = "<unk>"
UNKNOWN_SPACED = "<|unk|>"
"""Where `<unk>` is a word of the text."""
_LETTER = rf"[^\W{HAN}]"
_PIECES = re.compile(
    rf"(?P<han>[{HAN}]+)|(?P<word>{_LETTER}+(?:['’]{_LETTER}+)*)|(?P<implied>(?<={_LETTER}) (?={_LETTER}))"
    r"|(?P<mark> ?[^\w\s] ?)|(?P<space>\s)"
)
_STARTS_WORD = re.compile(_LETTER)
_SPACED = re.compile(r"(?P<implied>(?<=\S) (?=\S))|\S+|\s")
_NOT_SPACE = re.compile(r"\S")
_CHECKED = "他来到了网易杭研大厦，研究生命的起源；南京市长江大桥欢迎您。乒乓球拍卖完了，结婚的和尚未结婚的。"


@dataclass(frozen=True)
class Cutting:
    """How text becomes words: the cut, and what a word begins and ends with if the space before it is implied."""

    split: Callable[[str], list[str]]
    word: re.Pattern[str]


def segmenter_check(cut: Cut = "rjieba") -> str:
    """Return a digest of how the installed segmenter cuts; another dictionary would make other ids."""
    return hashlib.sha256("|".join(CUTS[cut].split(_CHECKED)).encode()).hexdigest()[:16]


def split(text: str) -> list[str]:
    """Cut text into words, marks with the spaces they touch, and single white space.

    A lone space between two words is left out: `join` puts it back.

    >>> split("I don't know, 床前明月光 (Li Bai).")
    ['I', "don't", 'know', ', ', '床前', '明月光', ' (', 'Li', 'Bai', ')', '.']
    """
    import rjieba

    pieces: list[str] = []
    for match in _PIECES.finditer(text):
        if match.lastgroup == "han":
            pieces += rjieba.cut(match[0])
        elif match.lastgroup != "implied":
            pieces.append(match[0])
    return pieces


def split_spaced(text: str) -> list[str]:
    """Cut text at its spaces; a lone space between two words is left out, any other white space is a piece.

    >>> split_spaced("no it was n't\\n<unk> said")
    ['no', 'it', 'was', "n't", '\\n', '<unk>', 'said']
    """
    return [match[0] for match in _SPACED.finditer(text) if match.lastgroup != "implied"]


CUTS: dict[Cut, Cutting] = {
    "rjieba": Cutting(split, _STARTS_WORD),
    "spaces": Cutting(split_spaced, _NOT_SPACE),
}


class WordCodec:
    """A table of words; what is not in it becomes the unknown token.

    Decoding gives the normal form: the text itself, with the unknown token for each unknown word.
    """

    lossless = False

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        unknown_id: int,
        skipped: frozenset[int],
        cutting: Cutting,
    ) -> None:
        self._vocabulary = {word: number for word, number in vocabulary.items() if number not in skipped}
        self._vocabulary = {word: number for word, number in self._vocabulary.items() if number != unknown_id}
        self._special = {word: number for word, number in vocabulary.items() if number in skipped}
        names = sorted(self._special, key=len, reverse=True)
        self._marks = re.compile(f"({'|'.join(map(re.escape, names))})" if names else r"(?!)")
        self._cutting = cutting
        self._names = {number: word for word, number in vocabulary.items()}
        self._unknown_id = unknown_id
        self._skipped = skipped

    def split(self, text: str) -> list[str]:
        """Cut text into pieces as `split` does; unknown marks let go of their spaces."""
        pieces: list[str] = []
        for piece in self._cutting.split(text):
            if piece in self._vocabulary or piece.strip(" ") in (piece, ""):
                pieces.append(piece)
            else:
                mark = piece.strip(" ")
                pieces += [" "] * piece.startswith(" ") + [mark] + [" "] * piece.endswith(" ")
        return pieces

    def encode(self, text: str) -> list[int]:
        """Return one id per piece."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text."""
        try:
            "".join(texts).encode()
            pieces = [self.split(text) for text in texts]
        except UnicodeEncodeError as error:
            raise not_text(texts) from error
        return [[self._vocabulary.get(piece, self._unknown_id) for piece in row] for row in pieces]

    def encode_marked(self, text: str) -> list[int]:
        """Return the ids of a text in which the names of special tokens are those tokens."""
        ids: list[int] = []
        for piece in self._marks.split(text):
            ids += [self._special[piece]] if piece in self._special else self.encode(piece)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Join the words of ids."""
        stream = self.stream()
        return "".join(map(stream.feed, ids))

    def stream(self) -> StreamDecoder:
        """Return a decoder that puts implied spaces back."""
        return WordStream(self._names, self._skipped, self._unknown_id, self._cutting.word)

    def token_text(self, token_id: int) -> str:
        """Return the word."""
        return self._names[token_id]

    def lost_bytes(self, text: str) -> int:
        """Return the bytes of unknown words and of the implied spaces beside them."""
        pieces = self.split(text)
        known = [piece in self._vocabulary for piece in pieces]
        lost = sum(len(piece.encode()) for piece, is_known in zip(pieces, known, strict=True) if not is_known)
        for place in range(1, len(pieces)):
            doubtful = not (known[place - 1] and known[place])
            lost += doubtful and _touch(self._cutting.word, pieces[place - 1], pieces[place])
        return lost


class WordStream:
    """Words one at a time, each with the space that stands before it."""

    def __init__(
        self, names: Mapping[int, str], skipped: frozenset[int], unknown_id: int, word: re.Pattern[str]
    ) -> None:
        self._names = names
        self._word_pattern = word
        self._skipped = skipped
        self._unknown_id = unknown_id
        self._last = ""

    def feed(self, token_id: int) -> str:
        """Take one id; return its word."""
        if token_id in self._skipped:
            self._last = ""
            return ""
        before = self._last
        word = self._names[token_id]
        self._last = "x" if token_id == self._unknown_id else word
        return " " + word if _touch(self._word_pattern, before, self._last) else word

    def finish(self) -> str:
        """Return nothing: no word waits for the next."""
        return ""


def _touch(word: re.Pattern[str], before: str, after: str) -> bool:
    """Say whether two neighbours are words, so that a space stood between them."""
    return bool(before and word.match(before[-1]) and word.match(after))
