"""Readers of written documents: what is read is what was written, and damage is named and counted."""

from __future__ import annotations

import gzip
import io
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A5
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate, Paragraph, SimpleDocTemplate

from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reader, Reading
from rootlm.text.readers.docx import read_docx
from rootlm.text.readers.epub import read_epub
from rootlm.text.readers.html import page_of, read_html
from rootlm.text.readers.joining import Habits, flowing
from rootlm.text.readers.markdown import read_markdown, readable
from rootlm.text.readers.package import Package
from rootlm.text.readers.pdf import read_pdf

registerFont(UnicodeCIDFont("STSong-Light"))

READERS: dict[str, Reader] = {
    ".html": read_html,
    ".md": read_markdown,
    ".epub": read_epub,
    ".pdf": read_pdf,
    ".docx": read_docx,
}
WORDS = ["printed", "documents", "must", "put", "together", "again", "what", "the", "typesetter", "took"]
WORDS += ["apart", "state-of-the-art", "layouts", "as", "well", "as", "plain", "letters", "a", "whatever"]
SYLLABLES = "中文排版不用空格分词行与之间直接相连因此把面上的一重新接成段落时绝能在两添加空格标点也会出现"


def prose(number: int, wide: bool) -> str:
    """Return a paragraph of several sentences, another for every number."""
    random = Random(number)
    sentences = []
    for _ in range(random.randint(2, 6)):
        words = random.choices(SYLLABLES if wide else WORDS, k=random.randint(8, 30))
        sentences.append(
            "".join(words) + random.choice("。！？") if wide else " ".join(words).capitalize() + "."
        )
    if wide:
        return f"第{number}段从此开始。{''.join(sentences)}此为第{number}段之末。"
    return f"Paragraph {number} begins here. {' '.join(sentences)} So ends number {number}."


ENGLISH = [prose(number, wide=False) for number in range(48)]
CHINESE = [prose(number, wide=True) for number in range(48)]


def everything(path: Path, reading: Reading | None = None, faults: Faults | None = None) -> list[Document]:
    file = RawFile.on_disk(path)
    return list(READERS[file.suffix](file, reading or Reading(), faults or Faults("stop")))


def written(folder: Path, name: str, content: bytes | str) -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def text_of(folder: Path, name: str, content: bytes | str) -> str:
    (document,) = everything(written(folder, name, content))
    return document.text


def packed(parts: dict[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return stream.getvalue()


PAGE = """<!DOCTYPE html><html lang="zh-CN"><head><title>一页
  things</title><meta charset="utf-8"><style>p {}</style><script>var x = "no";</script></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/b">About</a></li></ul></nav>
<h1>标题</h1><p>床前明月光，
疑是地上霜。</p><p>A bright &amp; <b>moon</b>.<!-- hidden --></p>
<ul><li>first item</li><li>second item</li></ul><ol><li>one</li><li>two</li></ol>
<table><tr><th>Name</th><th>Age</th></tr><tr><td>李白</td><td>61</td></tr></table>
<pre>def f():
    return 1</pre>
<footer>Copyright, imprint</footer></body></html>"""


class TestHtml:
    def test_the_main_text_stays_with_lists_tables_and_code(self, tmp_path: Path) -> None:
        (document,) = everything(written(tmp_path, "a.html", PAGE))
        assert document.text.split("\n") == [
            *("标题", "", "床前明月光，疑是地上霜。", "", "A bright & moon.", ""),
            *("  • first item", "  • second item", "  1. one", "  2. two"),
            *("Name\tAge", "李白\t61", "def f():", "    return 1"),
        ]
        assert document.meta == {"title": "一页 things", "lang": "zh-CN"}
        assert document.source == f"{tmp_path}/a.html"

    @pytest.mark.parametrize(
        ("declared", "encoding"),
        [
            ("gb2312", "gb18030"),
            ("GBK", "gb18030"),
            ("big5", "big5"),
            ("utf-8", "utf-8"),
            ("utf-8", "utf-8-sig"),
            ("utf-8", "gb18030"),
            ("utf-8", "utf-16"),
            ("no-such-thing", "gb18030"),
            (None, "gb18030"),
            (None, "big5"),
        ],
    )
    def test_the_encoding_is_the_mark_s_the_page_s_or_detected(
        self, tmp_path: Path, declared: str | None, encoding: str
    ) -> None:
        head = f'<meta http-equiv="Content-Type" content="text/html; charset={declared}">' if declared else ""
        poem = "秦川雄帝宅，函谷壯皇居。綺殿千尋起，離宮百雉餘。"
        page = f"<html><head>{head}</head><body><p>{poem}</p></body></html>"
        faults = Faults("stop")
        (document,) = everything(written(tmp_path, "a.html", page.encode(encoding)), faults=faults)
        assert document.text == poem
        assert sum(faults.encodings.values()) == 1

    def test_a_western_page_that_says_latin_1_is_read_as_browsers_do(self, tmp_path: Path) -> None:
        page = '<meta charset="iso-8859-1"><p>“Café” costs 5 €, n’est-ce pas ?</p>'
        assert text_of(tmp_path, "a.html", page.encode("cp1252")) == "“Café” costs 5 €, n’est-ce pas ?"

    def test_lists_of_links_are_left_out_and_an_index_stays(self) -> None:
        links = "".join(f"<li><a href=/{number}>Chapter {number}</a></li>" for number in range(9))
        prose = "<p>A long paragraph that says what the page is about, and goes on for a while.</p>" * 3
        assert "Chapter" not in page_of(f"<body><ul>{links}</ul>{prose}</body>").text
        assert page_of(f"<body><ul>{links}</ul></body>").text.count("Chapter") == 9

    def test_a_single_character_between_tags_is_no_ornament(self) -> None:
        page = "<p><b>春</b>、<b>夏</b>和 <i>秋</i><a href=x>冬</a></p><table><tr><td>李</td><td>白</td></tr></table>"
        text = page_of("<p>四时之景不同，而乐亦无穷也。</p>" + page).text
        assert text.split("\n\n", 1)[1].split() == ["春、夏和", "秋冬", "李", "白"]

    def test_a_long_page_and_a_deep_one_take_little_time(self) -> None:
        begun = time.process_time()
        long = "<p>Some <b>words</b></p><ul><li>one<li>two</ul>" * 10_000
        assert page_of(long).text.count("two") == 10_000
        assert page_of("<ul><li>" * 20_000 + "word").text.endswith("word")
        assert time.process_time() - begun < 60  # quadratic would be minutes

    def test_code_keeps_its_lines_where_chinese_text_joins_them(self) -> None:
        assert page_of("<p>明月\n  几时有</p><pre>明月\n几时有</pre>").text == "明月几时有\n\n明月\n几时有"

    def test_a_packed_page_is_read(self, tmp_path: Path) -> None:
        assert "标题" in text_of(tmp_path, "a.html.gz", gzip.compress(PAGE.encode()))


MARKDOWN = """---
title: 春晓
date: 2024-05-01
draft: false
huge: 123456789012345678901234567890
tags: [a, b]
---
# A *heading*

Words with `code`, ![a picture](u.png "t") and [a link](http://x.org/y).
A soft break, 春眠不觉晓，
处处闻啼鸟。<!-- hidden -->

<!-- a hidden
block -->

- one
- two
  1. inner
  2. inner too

> a quotation

| a | b |
|---|---|
| 1 | `2` |

```python
def f():

    return "# no heading"
```

<div align="center"><b>html &amp; block</b></div>
"""


class TestMarkdown:
    def test_words_stay_and_marks_go(self, tmp_path: Path) -> None:
        (document,) = everything(written(tmp_path, "a.md", MARKDOWN))
        assert document.text.split("\n") == [
            *(
                "A heading",
                "",
                "Words with code, a picture and a link. A soft break, 春眠不觉晓，处处闻啼鸟。",
                "",
            ),
            *("- one", "- two", "  1. inner", "  2. inner too", "", "a quotation", "", "a\tb", "1\t2", ""),
            *("def f():", "", '    return "# no heading"', "", "html & block"),
        ]
        assert document.meta == {
            "title": "春晓",
            "date": "2024-05-01",
            "draft": False,
            "huge": "123456789012345678901234567890",
        }

    @pytest.mark.parametrize(
        "head",
        [
            "---\nonly words\n---\n",
            "---\n{{ broken: [\n---\n",
            "---\n- a\n- b\n---\n",
            "---\n" + "[" * 1200 + "\n---\n",
        ],
    )
    def test_what_is_no_front_matter_is_text(self, tmp_path: Path, head: str) -> None:
        (document,) = everything(written(tmp_path, "a.md", head + "body"))
        assert document.meta == {}
        assert document.text.endswith("body")

    @given(st.text(st.sampled_from("ab# *_`-\n|>[]()<!1.~&;明"), max_size=200))
    @settings(max_examples=200, deadline=None)
    def test_any_text_is_markdown(self, text: str) -> None:
        assert readable(text) == readable(text)

    def test_windows_line_ends_and_deep_nesting(self, tmp_path: Path) -> None:
        assert text_of(tmp_path, "a.md", "a\r\nb\r\n\r\nc\r\n") == "a b\n\nc"
        assert "word" in text_of(tmp_path, "b.md", "> " * 60 + "word")


CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
XHTML = "application/xhtml+xml"


def book(**more: str | bytes) -> dict[str, str | bytes]:
    """Return the parts of a book whose second chapter comes first in the file."""
    items = "".join(
        f'<item id="{name}" href="{href}" media-type="{kind}"{nav}/>'
        for name, href, kind, nav in [
            ("two", "text/two%20.xhtml", XHTML, ""),
            ("one", "text/one.xhtml", XHTML, ""),
            ("nav", "nav.xhtml", XHTML, ' properties="nav"'),
            ("cover", "cover.xhtml", XHTML, ""),
            ("picture", "a.png", "image/png", ""),
        ]
    )
    spine = "".join(f'<itemref idref="{name}"/>' for name in ("cover", "nav", "one", "two"))
    return {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf"><metadata '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>唐诗 &amp; poems</dc:title>'
        f"<dc:creator>李白</dc:creator><dc:language>zh</dc:language></metadata><manifest>{items}</manifest>"
        f"<spine>{spine}</spine></package>",
        "OPS/nav.xhtml": "<html><body><nav>Contents</nav></body></html>",
        "OPS/cover.xhtml": '<html><body><img src="a.png"/></body></html>',
        "OPS/text/one.xhtml": "<html><body><h1>静夜思</h1><p>床前明月光</p></body></html>",
        "OPS/text/two .xhtml": "<html><body><p>Two.</p><ul><li>item</li></ul></body></html>",
        **{name.replace("|", "/"): content for name, content in more.items()},
    }


class TestEpub:
    def test_chapters_come_in_reading_order(self, tmp_path: Path) -> None:
        file = written(tmp_path, "a.epub", packed(book()))
        first, second = everything(file)
        assert (first.text, second.text) == ("静夜思\n\n床前明月光", "Two.\n\n  • item")
        assert first.source == f"{file}!OPS/text/one.xhtml"
        assert second.source == f"{file}!OPS/text/two .xhtml"
        assert first.meta == second.meta == {"title": "唐诗 & poems", "author": "李白", "lang": "zh"}

    def test_scrambled_fonts_are_no_protection(self, tmp_path: Path) -> None:
        rights = '<encryption><EncryptionMethod Algorithm="http://www.idpf.org/2008/embedding"/></encryption>'
        parts = {**book(), "META-INF/encryption.xml": rights}
        assert len(everything(written(tmp_path, "a.epub", packed(parts)))) == 2

    def test_a_chapter_that_is_broken_is_the_only_one_lost(self, tmp_path: Path) -> None:
        parts = {**book(), "OPS/text/one.xhtml": "床前明月光".encode() + b"\xff\xfe\xff" + "明月".encode()}
        faults = Faults("skip")
        (document,) = everything(written(tmp_path, "a.epub", packed(parts)), faults=faults)
        assert document.text.startswith("Two.")
        assert faults.counts == {"undecodable page": 1}

    def test_a_packed_book_is_read(self, tmp_path: Path) -> None:
        assert len(everything(written(tmp_path, "a.epub.gz", gzip.compress(packed(book()))))) == 2


W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
RELATIONS = f'<Relationships><Relationship Type="{OFFICE}" Target="word/document.xml"/></Relationships>'


def paragraph(*runs: str) -> str:
    return (
        "<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr>"
        + "".join(f"<w:r>{run}</w:r>" for run in runs)
        + "</w:p>"
    )


def said(text: str) -> str:
    return f'<w:t xml:space="preserve">{text}</w:t>'


def letter(body: str, **more: str) -> dict[str, str | bytes]:
    return {
        "_rels/.rels": RELATIONS,
        "word/document.xml": f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>',
        "word/footnotes.xml": f'<w:footnotes xmlns:w="{W}"><w:footnote w:id="2">'
        f"{paragraph(said('脚注在此'))}</w:footnote></w:footnotes>",
        "docProps/core.xml": '<c:p xmlns:c="c" xmlns:dc="d"><dc:title>信</dc:title><dc:creator>杜甫</dc:creator></c:p>',
        **more,
    }


BOX = f"<w:pict><w:txbxContent>{paragraph(said('in a box'))}</w:txbxContent></w:pict>"
TABLE = (
    "<w:tbl><w:tr>"
    + "".join(f"<w:tc>{paragraph(said(text))}</w:tc>" for text in ("姓名", "Age"))
    + f"</w:tr><w:tr><w:tc>{paragraph(said('李'))}{paragraph(said('白'))}</w:tc><w:tc>{paragraph(said('61'))}</w:tc>"
    + "</w:tr></w:tbl>"
)
LETTER = (
    paragraph(said("国破山河在，"), said("城春草木深。"), '<w:footnoteReference w:id="2"/>')
    + paragraph("<w:tab/>", said("A tab"), "<w:tab/>", said("and"), "<w:br/>", said("a line &amp; more"))
    + paragraph()
    + TABLE
    + paragraph(
        said("kept "), "<w:del><w:t>deleted</w:t></w:del>", "<w:instrText>PAGE</w:instrText>", said("words")
    )
    + paragraph(
        said("with"),
        f'<mc:AlternateContent xmlns:mc="m"><mc:Choice>{BOX}</mc:Choice><mc:Fallback>{BOX}</mc:Fallback>'
        "</mc:AlternateContent>",
    )
)


class TestDocx:
    def test_paragraphs_tables_notes_and_boxes_come_in_order(self, tmp_path: Path) -> None:
        (document,) = everything(written(tmp_path, "a.docx", packed(letter(LETTER))))
        assert document.text.split("\n\n") == [
            *("国破山河在，城春草木深。", "脚注在此", "A tab\tand\na line & more", "姓名\tAge\n李 白\t61"),
            *("kept words", "with", "in a box"),
        ]
        assert document.meta == {"title": "信", "author": "杜甫"}
        assert document.source == f"{tmp_path}/a.docx"

    @pytest.mark.parametrize("texts", [ENGLISH[:20], CHINESE])
    def test_as_many_paragraphs_are_read_as_were_written(self, tmp_path: Path, texts: Sequence[str]) -> None:
        body = "".join(paragraph(said(text)) for text in texts)
        assert text_of(tmp_path, "a.docx", packed(letter(body))).split("\n\n") == texts


def typeset(texts: Sequence[str], columns: int = 1, chinese: bool = False, **style: object) -> bytes:
    """Set paragraphs in one or two columns, with a header and a page number on every page."""
    stream = io.BytesIO()
    font = "STSong-Light" if chinese else "Times-Roman"
    width, height = A5
    form = ParagraphStyle(
        "p",
        fontName=font,
        fontSize=9,
        leading=11,
        alignment=TA_JUSTIFY,
        wordWrap="CJK" if chinese else None,
        **style,
    )

    def edges(canvas: Canvas, document: BaseDocTemplate) -> None:
        canvas.setFont(font, 8)
        canvas.drawString(40, height - 30, "明月集" if chinese else "A Running Head")
        canvas.drawString(width - 60, 25, f"{document.page}")

    room = (width - 80 - 14 * (columns - 1)) / columns
    frames = [
        Frame(40 + number * (room + 14), 45, room, height - 90, 0, 0, 0, 0, id=f"{number}")
        for number in range(columns)
    ]
    document = BaseDocTemplate(stream, pagesize=A5, title="明月 collected", author="李白")
    document.addPageTemplates(PageTemplate(frames=frames, onPage=edges))
    document.build([Paragraph(text, form) for text in texts])
    return stream.getvalue()


class TestPdf:
    @pytest.mark.parametrize(
        "style", [{"spaceAfter": 6}, {"firstLineIndent": 18}], ids=["spaced", "indented"]
    )
    @pytest.mark.parametrize("columns", [1, 2])
    @pytest.mark.parametrize("language", ["english", "chinese"])
    def test_paragraphs_come_back_whole(
        self, tmp_path: Path, language: str, columns: int, style: dict[str, object]
    ) -> None:
        texts = CHINESE if language == "chinese" else ENGLISH
        content = typeset(texts, columns, language == "chinese", **style)
        file = written(tmp_path, "a.pdf", content)
        (document,) = everything(file, Reading(max_document_characters=None))
        assert document.text.split("\n\n") == texts
        pages, _, last = str(document.meta["pages"]).partition("-")
        assert (pages, int(last) > 2) == ("1", True)
        assert document.meta["title"] == "明月 collected"
        assert document.meta["author"] == "李白"

    def test_pieces_name_the_pages_they_come_from(self, tmp_path: Path) -> None:
        file = written(tmp_path, "a.pdf", typeset(ENGLISH, spaceAfter=6))
        documents = everything(file, Reading(max_document_characters=2000))
        assert documents[0].source == f"{file}:page 1"
        assert len({document.source for document in documents}) == len(documents)
        starts = [int(document.source.rpartition(":page ")[2].partition("+")[0]) for document in documents]
        assert starts == sorted(starts)
        assert starts[-1] > 3
        assert all(
            str(document.meta["pages"]).startswith(f"{start}")
            for document, start in zip(documents, starts, strict=True)
        )

    def test_a_hyphen_that_only_breaks_a_word_goes(self, tmp_path: Path) -> None:
        lines = [
            "This is a line of text with a hyphen-",
            "ated word and a well-known one, which is well-",
            "known.",
        ]
        stream = io.BytesIO()
        canvas = Canvas(stream)
        for number, line in enumerate(lines):
            canvas.drawString(72, 700 - 14 * number, line)
        canvas.save()
        text = text_of(tmp_path, "a.pdf", stream.getvalue())
        assert (
            text == "This is a line of text with a hyphenated word and a well-known one, which is well-known."
        )

    def test_code_keeps_its_lines(self, tmp_path: Path) -> None:
        stream = io.BytesIO()
        canvas = Canvas(stream)
        code = ["def f(x):", "return x + 1", "print(f(1), f(2), f(3), f(4), sep=', ')", "x = 5"]
        for number, line in enumerate(code):
            canvas.drawString(72, 700 - 14 * number, line)
        canvas.save()
        assert text_of(tmp_path, "a.pdf", stream.getvalue()).split("\n") == code

    def test_a_packed_file_is_read(self, tmp_path: Path) -> None:
        content = gzip.compress(typeset(CHINESE[:2], chinese=True, spaceAfter=6))
        assert text_of(tmp_path, "a.pdf.gz", content).split("\n\n")[-2:] == CHINESE[:2]


def drawing() -> bytes:
    stream = io.BytesIO()
    canvas = Canvas(stream)
    canvas.rect(10, 10, 100, 100)
    canvas.save()
    return stream.getvalue()


def locked() -> bytes:
    stream = io.BytesIO()
    encryption = StandardEncryption("open sesame", strength=128)
    SimpleDocTemplate(stream, encrypt=encryption).build([Paragraph("secret", ParagraphStyle("p"))])
    return stream.getvalue()


BOMB = '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
NOISE = bytes(range(256)) * 40
TORN = gzip.compress(NOISE)[:300]
OLD_WORD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + NOISE
EMPTY_BOOK = packed({**book(), "OPS/text/one.xhtml": "<p/>", "OPS/text/two .xhtml": "<p/>"})
BOOK, LETTERS, PRINT = packed(book()), packed(letter(LETTER)), typeset(ENGLISH)
PROTECTED = (
    '<encryption><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/></encryption>'
)


def encrypted(content: bytes) -> bytes:
    """Set the flag of encryption for every member of a zip archive."""
    changed = bytearray(content)
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = changed.find(mark)
        while start >= 0:
            changed[start + offset] |= 1
            start = changed.find(mark, start + 4)
    return bytes(changed)


def hostile(part: str, declaration: str) -> bytes:
    parts = letter(LETTER)
    return packed({**parts, part: declaration + str(parts[part])})


FAULTS: dict[str, tuple[str, bytes, str, str]] = {
    **{f"empty {kind}": (f"a{kind}", b"", "empty file", "the file is empty; remove it") for kind in READERS},
    **{f"torn {kind}": (f"a{kind}.gz", TORN, "unreadable file", "cannot be read to its end") for kind in READERS},
    "no text html": ("a.html", b"<title>t</title><body><img src=x></body>", "no text", "holds no text"),
    "no text md": ("a.md", b"<!-- nothing -->\n\n![](a.png)\n", "no text", "holds no text"),
    "no text epub": ("a.epub", EMPTY_BOOK, "no text", "text"),
    "no text docx": ("a.docx", packed(letter(paragraph())), "no text", "holds no text"),
    "no text pdf": ("a.pdf", drawing(), "no text layer", "no text layer: its 1 page.*; recognise its text"),
    "binary html": ("a.html", b"<p>\0\1\2</p>" * 9, "binary file", "holds NUL bytes"),
    "binary md": ("a.md", b"\0\1\2" * 9, "binary file", "holds NUL bytes"),
    "undecodable html": ("a.html", "<p>好好学习".encode() * 9 + b"\xff", "undecodable line", "not UTF-8"),
    "garbage epub": ("a.epub", NOISE, "damaged file", "is damaged"),
    "garbage docx": ("a.docx", NOISE, "damaged file", "is damaged"),
    "garbage pdf": ("a.pdf", NOISE, "damaged file", "cannot be read as PDF"),
    "truncated epub": ("a.epub", BOOK[: len(BOOK) // 2], "damaged file", "is damaged"),
    "truncated docx": ("a.docx", LETTERS[: len(LETTERS) // 2], "damaged file", "is damaged"),
    "truncated pdf": ("a.pdf", PRINT[:700], "damaged file", "cannot be read as PDF"),
    "encrypted epub": ("a.epub", encrypted(BOOK), "encrypted", "is encrypted; save it without a password"),
    "protected epub": ("a.epub", packed({**book(), "META-INF/encryption.xml": PROTECTED}), "encrypted", "protected"),
    "encrypted docx": ("a.docx", OLD_WORD, "encrypted", "is encrypted, or an old .doc"),
    "encrypted pdf": ("a.pdf", locked(), "encrypted", "asks for a password; save it without"),
    "lying epub": ("a.epub", packed({**book(), "a": bytes(1 << 25)}), "lying archive", "unpacks to"),
    "lying docx": ("a.docx", packed({**letter(LETTER), "a": bytes(1 << 25)}), "lying archive", "unpacks to"),
    "bomb docx": ("a.docx", hostile("word/document.xml", BOMB), "hostile XML", "declares the entity a"),
    "outside docx": ("a.docx", hostile("docProps/core.xml", OUTSIDE), "hostile XML", "declares the entity a"),
    "bomb epub": ("a.epub", packed({**book(), "META-INF/container.xml": BOMB + CONTAINER}), "hostile XML", "entity"),
    "deep docx": ("a.docx", packed(letter("<w:p>" * 2000)), "damaged file", "nests without end"),
    "no such part epub": ("a.epub", packed({"META-INF/container.xml": CONTAINER}), "damaged file", "has no part OPS/"),
    "another zip docx": ("a.docx", packed({"a.txt": "text"}), "damaged file", r"has no part _rels/\.rels"),
    "broken XML docx": ("a.docx", packed(letter("<w:p>")), "damaged file", "not well-formed XML"),
}  # fmt: skip


class TestFaults:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fault_is_one_line_that_names_place_and_remedy(self, tmp_path: Path, fault: str) -> None:
        name, content, _, message = FAULTS[fault]
        with pytest.raises(ValueError, match=message) as caught:
            everything(written(tmp_path, name, content))
        assert str(caught.value).startswith(f"{tmp_path}/{name}")
        assert "\n" not in str(caught.value)
        assert "read.on_error=skip" in str(caught.value)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fault_that_is_skipped_is_counted(self, tmp_path: Path, fault: str) -> None:
        name, content, reason, _ = FAULTS[fault]
        faults = Faults("skip")
        everything(written(tmp_path, name, content), faults=faults)
        assert faults.counts == {reason: 1}

    @pytest.mark.parametrize("kind", READERS)
    def test_torn_and_altered_files_never_raise_anything_else(self, tmp_path: Path, kind: str) -> None:
        whole = {
            ".html": PAGE.encode(),
            ".md": MARKDOWN.encode(),
            ".epub": BOOK,
            ".docx": LETTERS,
            ".pdf": PRINT,
        }[kind]
        for variant in damaged(whole):
            everything(written(tmp_path, f"a{kind}", variant), faults=Faults("skip"))

    @pytest.mark.parametrize(
        ("kind", "library"),
        [(".html", "resiliparse"), (".md", "markdown_it"), (".epub", "resiliparse"), (".pdf", "pypdfium2")],
    )
    def test_a_missing_library_names_the_extra(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, library: str
    ) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == library]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, library, None)
        content = {".html": PAGE.encode(), ".md": MARKDOWN.encode(), ".epub": BOOK, ".pdf": PRINT}[kind]
        with pytest.raises(ValueError, match=r'needs an extra: pip install "rootlm\[documents\]"'):
            everything(written(tmp_path, f"a{kind}", content), faults=Faults("skip"))

    @pytest.mark.parametrize("kind", READERS)
    def test_a_file_that_vanished_is_named(self, tmp_path: Path, kind: str) -> None:
        with pytest.raises(ValueError, match=rf"gone\{kind}: cannot be read to its end \(No such file"):
            everything(tmp_path / f"gone{kind}")


def damaged(content: bytes) -> Iterator[bytes]:
    """Yield a file cut short, and with bytes of it altered, at places spread over it."""
    for part in range(1, 40):
        place = len(content) * part // 40
        yield content[:place]
        yield content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", PAGE.encode()),
        ("a.md", MARKDOWN.encode()),
        ("a.epub", BOOK),
        ("a.docx", LETTERS),
        ("a.pdf", PRINT),
    ],
)
def test_reading_twice_reads_the_same(tmp_path: Path, name: str, content: bytes) -> None:
    file = written(tmp_path, name, content)
    assert everything(file) == everything(file)


@pytest.mark.parametrize("make", [lambda: packed(book()), lambda: packed(letter(LETTER))])
def test_a_part_that_is_not_there_is_named(make: Callable[[], bytes]) -> None:
    with pytest.raises(ValueError, match="has no part nowhere"):
        Package(io.BytesIO(make())).read("nowhere")


@given(st.lists(st.text(st.sampled_from("abc-明，。 "), min_size=1, max_size=12), max_size=8))
@settings(max_examples=200, deadline=None)
def test_joining_lines_loses_nothing_but_spaces_and_hyphens(lines: list[str]) -> None:
    def bare(text: str) -> str:
        return "".join(text.split()).replace("-", "")

    assert bare(flowing(lines, Habits())) == bare("".join(lines))
