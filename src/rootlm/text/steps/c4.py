"""The rules of C4: keep the lines that are sentences, drop pages that are hardly any. (Raffel et al. 2020, JMLR 21.)"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.document import Rewrite, Rule
from rootlm.text.steps.word_split import Words, is_chinese, words

Fate = Literal["keep", "drop", "lorem", "brace"]

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_ENDS = (".", "?", "!", '"', "'")
_HAN_ENDS = (*_ENDS, "。", "！", "？", "…", "”", "’", "」", "』", "）", ")", "．", "；")
_POLICIES = (
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
)  # fmt: skip
_HAN_POLICIES = (
    *_POLICIES, "使用条款", "使用條款", "服务条款", "服務條款", "用户协议", "使用者條款", "隐私政策", "隱私政策",
    "隐私权政策", "隱私權政策", "隐私条款", "隱私條款", "隐私声明", "隱私聲明", "免责声明", "免責聲明",
    "cookie政策", "cookie 政策", "使用cookie", "使用 cookie", "版权所有", "版權所有", "未经许可", "未經許可",
)  # fmt: skip
_SCRIPT = "javascript"
_FILLERS = ("lorem ipsum",)
_HAN_FILLERS = (*_FILLERS, "乱数假文", "亂數假文")
_BRACES = ("{",)
_HAN_BRACES = ("{", "｛")
_TELLING = (_SCRIPT, *_HAN_FILLERS, *_HAN_BRACES, *_HAN_POLICIES)


class C4Lines(Config):
    """Keep the lines that are sentences, without citation marks such as [3].

    Lines that condemn their document stay for the rule `C4`, so that it decides the same before and after.
    """

    terminal_mark: bool = True
    """A line must end with a mark that ends a sentence, or with a quote; three dots do not end one."""
    min_words: Annotated[int, Field(ge=0)] = 3
    """Fewest words of a line, between spaces."""
    min_han: Annotated[int, Field(ge=0)] = 5
    """Fewest Han characters of a line, in text that is mainly Chinese."""
    max_word_length: Annotated[int, Field(gt=0)] | None = 1000
    """Most characters between two spaces; null: no limit. Chinese has no spaces and no such limit."""
    citations: bool = False
    """Leave marks such as [3], [edit] and [citation needed] where they are."""
    javascript: bool = False
    """Keep lines that name JavaScript: they mostly ask to turn it on."""
    policies: bool = False
    """Keep lines that name terms of use, cookies or a privacy policy."""

    def build(self) -> Rewrite:
        """Return the rewrite."""

        def rewrite(text: str) -> str:
            while (better := "\n".join(self.remaining(text)).strip()) != text:
                text = better
            return text

        return rewrite

    def remaining(self, text: str) -> list[str]:
        """Return the lines that stay, after one pass."""
        chinese = is_chinese(text)
        return [line for line, fate in self.fates(text, chinese) if fate != "drop"]

    def fates(self, text: str, chinese: bool) -> Iterator[tuple[str, Fate]]:
        """Yield every line as it is kept, and what becomes of it."""
        ends = _HAN_ENDS if chinese else _ENDS
        lowered = text.lower()
        # Most texts name none of these, and one look is cheaper than one a line.
        telling = any(sign in lowered for sign in _TELLING)
        for line in text.splitlines():
            better = line.strip()
            if not self._is_long_enough(better, chinese):
                yield better, "drop"
                continue
            if not self.citations and "[" in better:
                better = _CITATION.sub("", better)
            if self.terminal_mark and (not better.endswith(ends) or better.endswith("...")):
                yield better, "drop"
            else:
                yield better, self._fate(better, chinese) if telling else "keep"

    def _is_long_enough(self, line: str, chinese: bool) -> bool:
        """Return whether a line has its words and none that is endless, counted before citations go."""
        if chinese:
            return len(line) >= self.min_han and _han_count(line, self.min_han) >= self.min_han
        if self.min_words and len(line.split(None, self.min_words - 1)) < self.min_words:
            return False
        most = self.max_word_length
        return most is None or len(line) <= most or max(map(len, line.split())) <= most

    def _fate(self, line: str, chinese: bool) -> Fate:
        """Return what becomes of a line that is a sentence; the order is the reference's."""
        lowered = line.lower()
        if any(filler in lowered for filler in (_HAN_FILLERS if chinese else _FILLERS)):
            return "lorem"
        if not self.javascript and _SCRIPT in lowered:
            return "drop"
        if any(brace in line for brace in (_HAN_BRACES if chinese else _BRACES)):
            return "brace"
        if not self.policies and any(
            policy in lowered for policy in (_HAN_POLICIES if chinese else _POLICIES)
        ):
            return "drop"
        return "keep"


class C4Quality(Config):
    """Drop pages with filler text, with code, or with too few sentences in the lines that C4 keeps.

    The lines themselves are dropped by the rewrite `C4Lines`; this rule judges the same with and without it.
    """

    min_sentences: Annotated[int, Field(ge=0)] = 5
    """Fewest sentences in the lines that are kept."""
    filler: bool = False
    """Keep documents with "lorem ipsum"."""
    braces: bool = False
    """Keep documents with a curly bracket, which prose has not and code has."""
    lines: C4Lines = C4Lines()
    """Which lines are kept, and so counted."""

    def build(self) -> Rule:
        """Return the rule; the first limit that is broken is the reason."""
        return lambda document: self.judge(document.text)

    def judge(self, text: str) -> str | None:
        """Return which limit a text breaks."""
        kept: list[str] = []
        for line, fate in self.lines.fates(text, is_chinese(text)):
            if fate == "lorem" and not self.filler:
                return "holds filler text (lorem ipsum)"
            if fate == "brace" and not self.braces:
                return "holds a curly bracket"
            if fate != "drop":
                kept.append(line)
        if self.min_sentences and sentences(words("\n".join(kept))) < self.min_sentences:
            return f"fewer than {self.min_sentences} sentences in lines that are sentences"
        return None


def sentences(found: Words) -> int:
    """Return how many sentences a text has; every line ends one.

    >>> sentences(words("Mr. Smith came. He sat down!")), sentences(words("床前明月光，疑是地上霜。举头望明月。"))
    (2, 2)
    """
    from rootlm.text.steps.count_kernel import count_sentences

    return count_sentences(found.points, found.classes, found.starts, found.ends)


def _han_count(line: str, enough: int) -> int:
    """Return how many Han characters a line has, counted up to `enough`."""
    count = 0
    for character in line:
        count += "㐀" <= character <= "鿿" or character >= "\U00020000"
        if count >= enough:
            break
    return count
