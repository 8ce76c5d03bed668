"""Wikitext to plain text, in one pass: what marks and decorates goes, what is said stays."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field

# Elements whose content is no text; some of them are closed in themselves.
_DROPPED = "ref|references|gallery|timeline|score|imagemap|graph|syntaxhighlight|source|templatedata|mapframe"
_DROPPED += "|maplink|hiero|templatestyles|indicator|style|script|categorytree|inputbox|includeonly|rp|table"
_FORMULAS = ("math", "chem", "ce")
_PLAIN = (
    "abbr|b|bdi|bdo|big|blockquote|center|cite|code|data|dd|del|dfn|div|dl|dt|em|font|h[1-6]|hr|i|ins|kbd"
)
_PLAIN += "|li|mark|noinclude|ol|onlyinclude|p|poem|pre|q|rb|rt|ruby|s|samp|section|small|span|strike|strong"
_PLAIN += "|sub|sup|td|th|time|tr|tt|u|ul|var|wbr"
# Begins with plain characters, which are found fast; what stands after a `<` is looked at only there.
_NAME = r"[^\[\]{}<>|'\n]"
_MARK = re.compile(
    rf"<|\[\[({_NAME}+)(?:\|({_NAME}*))?\]\]"
    r"|\{\{\{[^{}]*\}\}\}|\{\{|\{\||\[\[|\]\]|\}\}|\}-|-\{|''+|\|\}|\|"
)
_ELEMENT = re.compile(
    rf"<(?:(?P<element>nowiki|{'|'.join(_FORMULAS)}|{_DROPPED})\b(?P<rest>[^<>]*)>"
    rf"|(?P<tag>/?(?:{_PLAIN}|{_DROPPED}|{'|'.join(_FORMULAS)}|nowiki|br)\b)[^<>]*>|!--)",
    re.I,
)
_CLOSES = {"}}": "{{", "]]": "[[", "}-": "-{", "|}": "{|"}
# What a closing mark may leave open behind it: an unfinished link ends with its template.
_WEAKER = {"{{": ("[[", "-{"), "[[": (), "-{": ("[[",), "{|": ("[[", "-{", "{{")}
_LINK = re.compile(r"\[(?:https?:|ftp:|mailto:)?//[^\s\]\[]*[ \t]*([^\]\[\n]*)\]")
_MAGIC = re.compile(r"__[A-Z\u4e00-\u9fff]{3,}__")
_HEADING = re.compile(r"(={1,6})[ \t]*(.+?)[ \t]*\1[ \t]*")
_ITEM = re.compile(r"([*#:;]+)[ \t]*")
_EMPTY = re.compile(r"[ \t]{0,2}[（(][\s,，;；、:：]{0,40}[)）]")
_BEFORE = re.compile(r"([（(])[\s,，;；、:：]{1,40}(?=\S)")
_ELSEWHERE = re.compile(r"[a-z]{2,3}(?:-[a-z-]+)?:\S")
_KEPT = re.compile("\x7f(\\d+)\x7f")
# Templates that only dress a text: the number of the parameter that is shown, the better one first.
_DRESSING = {"lang": (2,), "nowrap": (1,), "nobr": (1,), "le": (3, 1), "tsl": (4, 3), "translink": (4, 3)}
_HIDDEN = ("file", "image", "media", "category", "文件", "檔案", "档案", "图像", "圖像", "分类", "分類")
_VARIANTS = ("zh-hans", "zh-cn", "zh-sg", "zh-my", "zh", "zh-hant", "zh-tw", "zh-hk", "zh-mo")
_RULE = re.compile(r"\s*(?:[^;|{}]*=>)?\s*(zh(?:-[a-z]+)?)\s*:(.*)", re.S | re.I)
_RULES_END = re.compile(r";(?=\s*(?:[^;|{}]*=>)?\s*zh(?:-[a-z]+)?\s*:|\s*\Z)", re.I)
# Bold, italic and the parameters of templates.
_SILENT = re.compile(r"'{2,5}|\{\{\{.*", re.S)
_FLAGS = re.compile(r"[A-Za-z;\- ]*")
_NAMED = re.compile(r"\s*[\w-]+\s*=")
_BREAKS = re.compile(r"/?(?:br|p|div|li|h[1-6]|tr|dd|dt|blockquote|center|hr)", re.I)
_RULER = re.compile("-{4,}")
# Text stands below every heading.
_TEXT = 7


@dataclass
class _Frame:
    """What stands between an opening mark and where the text has come to."""

    kind: str
    pipes: list[int] = field(default_factory=list)
    """Which parts are a `|` of the frame itself."""
    parts: list[str] = field(default_factory=list)

    def fields(self) -> list[str]:
        starts, ends = [0, *(pipe + 1 for pipe in self.pipes)], [*self.pipes, len(self.parts)]
        return ["".join(self.parts[start:end]) for start, end in zip(starts, ends, strict=True)]


class Wiki:
    """How one wiki writes: the names of files and categories, links to which are no text."""

    def __init__(self, hidden: frozenset[str] = frozenset()) -> None:
        self._hidden = {*_HIDDEN, *(name.lower() for name in hidden)}

    def plain(self, text: str) -> str:
        """Return the text without markup: no templates, tables, notes and files; headings and lists as lines.

        Of Chinese variants the simplified one is taken where the page gives several.

        >>> print(Wiki().plain("'''[[Tea|茶]]'''{{x}}是-{zh-cn:信息;zh-tw:資訊}-。<ref>1</ref>\\n* a\\n== b =="))
        茶是信息。
        - a
        """
        kept: list[str] = []
        joined = "".join(self._parse(text.replace("\x7f", ""), kept))
        joined = _MAGIC.sub("", _LINK.sub(r"\1", joined))
        joined = _BEFORE.sub(r"\1", _EMPTY.sub("", joined))
        joined = html.unescape("\n".join(_lines(joined)))
        return _KEPT.sub(lambda match: kept[int(match[1])], joined).strip()

    def _parse(self, text: str, kept: list[str]) -> list[str]:
        """Return the parts of the text outside of what is dropped; `kept` receives what is no markup."""
        stack, opened = [_Frame("")], dict.fromkeys(_CLOSES.values(), 0)
        ends = _Ends(text)
        at = 0
        while match := _MARK.search(text, at):
            start, mark = match.start(), match[0]
            parts = stack[-1].parts
            parts.append(text[at:start])
            at = match.end()
            if match[1] is not None:
                # The plain link, nine of ten.
                parts.append(self._link([match[1]] if match[2] is None else [match[1], match[2]]))
            elif mark == "<":
                at = _element(text, start, ends, parts, kept)
            elif mark in opened and (mark != "{|" or _begins_line(text, start)):
                stack.append(_Frame(mark))
                opened[mark] += 1
            elif mark in _CLOSES and opened[_CLOSES[mark]] and (mark != "|}" or _begins_line(text, start)):
                self._close(stack, mark, opened)
            elif mark[0] == "|":
                stack[-1].pipes.append(len(parts))
                parts.append("|")
                at = start + 1
            elif not _SILENT.fullmatch(mark):
                parts.append(mark)
        stack[-1].parts.append(text[at:])
        _leave_open(stack, 0, opened)
        return stack[0].parts

    def _close(self, stack: list[_Frame], mark: str, opened: dict[str, int]) -> None:
        """Put what a closed frame says into the one around it; a mark that closes nothing is text."""
        kind = _CLOSES[mark]
        depth = len(stack) - 1
        while stack[depth].kind in _WEAKER[kind]:
            depth -= 1
        _leave_open(stack, depth, opened)
        if stack[-1].kind == kind:
            opened[kind] -= 1
            frame = stack.pop()
            stack[-1].parts.append(self._said(frame))
        else:
            stack[-1].parts.append(mark)

    def _said(self, frame: _Frame) -> str:
        if frame.kind == "[[":
            return self._link(frame.fields())
        if frame.kind == "-{":
            return _variant("".join(frame.parts))
        return _template(frame.fields()) if frame.kind == "{{" else "\n"

    def _link(self, fields: list[str]) -> str:
        target = fields[0].strip()
        space = target.partition(":")[0].strip().lower() if ":" in target else ""
        if space in self._hidden or (len(fields) == 1 and _ELSEWHERE.match(target)):
            return ""
        return "|".join(fields[1:]) or target.removeprefix(":")


class _Ends:
    """Where elements end; what is not found once is never searched again."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._missing: set[str] = set()

    def first(self, pattern: str, at: int) -> tuple[int, int]:
        """Return where the first match begins and ends, or zeros."""
        match = None if pattern in self._missing else re.compile(pattern, re.I).search(self._text, at)
        if match is None:
            self._missing.add(pattern)
            return 0, 0
        return match.span()


def _begins_line(text: str, at: int) -> bool:
    """Tell whether nothing but indentation stands before a mark in its line."""
    while at and text[at - 1] in " :":
        at -= 1
    return at == 0 or text[at - 1] == "\n"


def _element(text: str, at: int, ends: _Ends, parts: list[str], kept: list[str]) -> int:
    """Return where the text goes on after a `<`; `parts` receives what it says."""
    match = _ELEMENT.match(text, at)
    if match is None:
        parts.append("<")
        return at + 1
    if match[0] == "<!--":
        return ends.first("-->", match.end())[1] or len(text)
    if match["tag"]:
        parts.append("\n" if _BREAKS.fullmatch(match["tag"]) else "")
        return match.end()
    name = match["element"].lower()
    start, end = ends.first(rf"</{name}\s*>", match.end())
    if match["rest"].endswith("/") or not end:
        return match.end()
    if name == "nowiki" or name in _FORMULAS:
        content = html.unescape(text[match.end() : start])
        parts.append(f"\x7f{len(kept)}\x7f")
        kept.append(content if name == "nowiki" else f"${' '.join(content.split())}$")
    return end


def _leave_open(stack: list[_Frame], depth: int, opened: dict[str, int]) -> None:
    """Take frames that never close for the text they are; the marks of templates and tables go."""
    for frame in stack[depth + 1 :]:
        opened[frame.kind] -= 1
        stack[depth].parts.append(frame.kind if frame.kind == "[[" else "")
        stack[depth].parts.extend(frame.parts)
    del stack[depth + 1 :]


def _template(fields: list[str]) -> str:
    """Return the text that a template only dresses; others say nothing."""
    name = fields[0].strip().lower()
    numbers = (3, 1) if name.startswith("link-") else _DRESSING.get(name, ())
    unnamed = [part for part in fields if not _NAMED.match(part)]
    return next((unnamed[number].strip() for number in numbers if number < len(unnamed)), "")


def _variant(content: str) -> str:
    """Return what simplified Chinese shows of conversion markup; a rule that shows nothing is empty.

    >>> _variant("zh-hans:信息;zh-hant:資訊"), _variant("T|zh-cn:信息"), _variant("raw")
    ('信息', '', 'raw')
    """
    flags, bar, rest = content.partition("|")
    if bar and _FLAGS.fullmatch(flags):
        if {"H", "T", "-"} & set(flags.upper().replace(" ", "").split(";")):
            return ""
        content = rest
    rules = [match for rule in _RULES_END.split(content) if (match := _RULE.fullmatch(rule))]
    shown = {match[1].lower(): match[2].strip() for match in rules}
    return next((shown[variant] for variant in _VARIANTS if variant in shown), content if not shown else "")


def _lines(text: str) -> list[str]:
    """Return the lines without their marks; a heading with nothing below it goes too."""
    kept: list[str] = []
    below, blank = 0, True
    for raw in reversed(text.split("\n")):
        line = raw.strip()
        if heading := _HEADING.fullmatch(line):
            level = len(heading[1])
            if below > level:
                kept.append(heading[2])
                below, blank = level, False
        elif line.startswith(("|", "{|")) or _RULER.fullmatch(line):
            continue
        elif line := _item(line):
            kept.append(line)
            below, blank = _TEXT, False
        elif not blank:
            kept.append("")
            blank = True
    return kept[::-1]


def _item(line: str) -> str:
    """Return an item of a list with one mark, and any other line as it is."""
    item = _ITEM.match(line)
    rest = line[item.end() :] if item else line
    return f"- {rest}" if item and rest and item[1][-1] in "*#" else rest
