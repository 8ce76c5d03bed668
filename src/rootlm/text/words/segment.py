"""Words of mixed text: Chinese cut by rjieba, other scripts by letters, with dictionaries of one's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from rootlm.core.config import Config
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.lines import lines
from rootlm.text.raw.rawfile import RawFile

HAN = "々〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Han characters, for a class of a regular expression."""
_LETTER = rf"[^\W\d_{HAN}]"
_WRITTEN = rf"(?:[^\W_{HAN}]|[\u0300-\u036f])"
_MARKS = "，。、；：？！“”‘’（）《》〈〉「」『』【】〔〕·"
_NAMED = r"[A-Za-z](?:\+\+|\#)(?![A-Za-z0-9_])"
# A Chinese stretch takes the Latin it touches along (卡拉OK, T恤), but no C++, don't, café, 3,000, address.
_LATIN = rf"(?!{_NAMED}|www\.)[A-Za-z]++(?!['’]?{_LETTER}|://|[A-Za-z0-9._%+\-]{{0,64}}@[A-Za-z0-9])"
_BETWEEN = r"(?![0-9]++[,:/][0-9])[0-9+#&._%\-]"
_PIECE = re.compile(
    # Groups are repeated within (?>…): a possessive repeat of a group loses its place in Python 3.11.2.
    # Most of English at once; the long way would find the same.
    r"(?P<plain>[A-Za-z]++(?=[ ,\n]))"
    r"|(?P<address>(?:https?://|www\.)[!-~]*[A-Za-z0-9/#=&_~%+\-]"
    r"|[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)+)"
    rf"|(?P<han>(?>(?:{_LATIN}|{_BETWEEN}){{0,32}})[{HAN}](?>(?:[{HAN}]|[{_MARKS}]++(?=[{HAN}])|{_LATIN}|{_BETWEEN})*))"
    r"|(?P<word>(?:[A-Za-z]\.){2,}"
    rf"|\d++(?>(?:[.,:/]\d++)*)%?+(?!{_LETTER})"
    rf"|{_NAMED}"
    rf"|{_WRITTEN}+(?>(?:['’_\-]{_WRITTEN}+)*))"
    r"|(?P<mark>…+|—+|\.{2,}|-{2,}|~{2,}|～+)"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_FREQUENCY, _TAG = re.compile(r"[0-9]{1,18}"), re.compile(r"[A-Za-z]+")
_TAUGHT = "x"
_FORM = "write WORD, WORD FREQUENCY or WORD FREQUENCY TAG"


class Cutter(Protocol):
    """What rjieba offers, as a module and as a dictionary of one's own."""

    def cut(self, text: str, hmm: bool = True) -> list[str]: ...
    def tag(self, text: str, hmm: bool = True) -> list[tuple[str, str]]: ...


class Piece(NamedTuple):
    """A word, a mark or white space; Chinese pieces have rjieba's part of speech, others an empty one."""

    text: str
    tag: str
    kind: str


class Segment(Config):
    """How text is cut into words."""

    dictionary: str | None = None
    """A file of words that stay whole, a line each: WORD [FREQUENCY] [TAG], as jieba has it."""
    guess_new_words: bool = True
    """Join characters that no dictionary joins where a hidden Markov model takes them for a word."""

    def build(self, faults: Faults | None = None) -> Segmenter:
        """Return the segmenter; lines of the dictionary that are rejected go to `faults`, which stops by default."""
        import rjieba

        if self.dictionary is None:
            return Segmenter(rjieba, self.guess_new_words)
        segmenter = Segmenter(cutter := rjieba.Jieba(), self.guess_new_words)
        taught = _teach(segmenter, cutter, Path(self.dictionary), faults or Faults("stop"))
        return Segmenter(cutter, self.guess_new_words, taught)


class Segmenter:
    """Cuts text into words. It holds rjieba's dictionary, so each process builds its own."""

    def __init__(self, cutter: Cutter, guess_new_words: bool = True, taught: int = 0) -> None:
        self._cutter = cutter
        self._guess = guess_new_words
        self.taught = taught
        """How many words the dictionary of one's own has taught it."""

    def pieces(self, text: str) -> list[str]:
        """Cut text into words, marks and white space, which join to the text again.

        >>> Segment().build().pieces("我们说 don't.")
        ['我们', '说', ' ', "don't", '.']
        """
        cut, guess = self._cutter.cut, self._guess
        pieces: list[str] = []
        for match in _PIECE.finditer(text):
            if match.lastgroup == "han":
                pieces += cut(match[0], guess)
            else:
                pieces.append(match[0])
        return pieces

    def words(self, text: str) -> list[str]:
        """Cut text into words and marks; white space is left out.

        >>> Segment().build().words("南京市长江大桥, e.g. on 3.14% of state-of-the-art maps…")
        ['南京市', '长江大桥', ',', 'e.g.', 'on', '3.14%', 'of', 'state-of-the-art', 'maps', '…']
        """
        return [piece for piece in self.pieces(text) if not piece.isspace()]

    def tagged(self, text: str) -> Iterator[Piece]:
        """Yield words and marks with the part of speech of the Chinese ones."""
        for match in _PIECE.finditer(text):
            if match.lastgroup == "han":
                for word, tag in self._cutter.tag(match[0], self._guess):
                    yield Piece(word, tag, "han")
            elif match.lastgroup != "space":
                yield Piece(match[0], "", "word" if match.lastgroup == "plain" else str(match.lastgroup))


class _Entry(NamedTuple):
    line: int
    frequency: int | None


def word_lines(file: Path, faults: Faults) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines of a list of words that are not blank.

    Raises ValueError for a file that is not there; one that is empty, blank or broken is reported.
    """
    if not file.is_file():
        raise ValueError(f"{file}: no such file; name a text file with a word on each line")
    number, found = 0, False
    before = sum(faults.counts.values())
    for number, line in lines(RawFile.on_disk(file), None, faults):
        if text := line.strip():
            found = True
            yield number, text
    if not found and sum(faults.counts.values()) == before:
        faults.report(
            str(file), "no words", f"holds {number} blank lines and no word", "write a word on each"
        )


def _teach(segmenter: Segmenter, cutter: object, file: Path, faults: Faults) -> int:
    """Add the words of a file to rjieba's dictionary and see that each stays whole; returns how many do."""
    entries: dict[str, _Entry] = {}
    for number, text in word_lines(file, faults):
        word, *rest = text.split()
        problem = _wrong_form(rest) or _wrong_word(word) or _seen(entries.get(word))
        if problem:
            faults.report(f"{file}:{number}", "rejected word", f"{text!r}: {problem}", _FORM)
            continue
        entries[word] = entry = _Entry(number, int(rest[0]) if rest and rest[0].isdigit() else None)
        tag = rest[-1] if rest and not rest[-1].isdigit() else _TAUGHT
        _add(cutter, word, entry.frequency, tag)
    # Only now: a later word may take an earlier one apart.
    whole = 0
    for word, entry in entries.items():
        if segmenter.words(word) == [word]:
            whole += 1
            continue
        parts, least = " ".join(segmenter.words(word)), _least_frequency(cutter, word)
        given = "" if entry.frequency is None else f" with frequency {entry.frequency}"
        problem = f"{word!r} does not stay whole{given}; it is cut into {parts}"
        remedy = f"leave its frequency out or give {least} or more"
        faults.report(f"{file}:{entry.line}", "rejected word", problem, remedy)
    return whole


def _wrong_form(rest: list[str]) -> str | None:
    if len(rest) > 2:
        return f"{len(rest) + 1} columns, and a word cannot hold a space"
    if len(rest) == 2 and not _FREQUENCY.fullmatch(rest[0]):
        return f"{rest[0]!r} is no frequency (digits), and a word cannot hold a space"
    if rest and not _TAG.fullmatch(rest[-1]) and not (len(rest) == 1 and _FREQUENCY.fullmatch(rest[0])):
        return f"{rest[-1]!r} is neither a frequency (digits) nor a tag (letters)"
    if rest and _FREQUENCY.fullmatch(rest[0]) and int(rest[0]) == 0:
        return "a word of frequency 0 is never cut"
    return None


def _wrong_word(word: str) -> str | None:
    pieces = list(_PIECE.finditer(word))
    kinds = {match.lastgroup for match in pieces}
    if len(pieces) == 1 and kinds & {"han", "plain", "word", "address"}:
        marks = [character for character in word if character in _MARKS]
        return f"{marks[0]} always stands alone" if marks else None
    if len(pieces) == 1:
        return "it is a mark, not a word"
    return f"it is always cut into {' '.join(match[0] for match in pieces)}"


def _seen(entry: _Entry | None) -> str | None:
    return f"the word stands on line {entry.line} already" if entry else None


def _add(cutter: object, word: str, frequency: int | None, tag: str) -> None:
    """Add a word; without a frequency it gets the least one that keeps it whole."""
    import rjieba

    assert isinstance(cutter, rjieba.Jieba)
    cutter.add_word(word, frequency or _least_frequency(cutter, word), tag)


def _least_frequency(cutter: object, word: str) -> int:
    import rjieba

    assert isinstance(cutter, rjieba.Jieba)
    return max(int(cutter.suggest_freq(word)), 1)
