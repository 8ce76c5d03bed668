"""A folder with a file of every kind that people have, half of them damaged, becomes a corpus that says so."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from rootlm.cli import data_prepare, data_report
from rootlm.text.corpus import Corpus
from rootlm.text.raw.rawfile import suffix
from rootlm.text.readers.read import READERS
from test_corpus import poem
from test_readers_containers import DUMP_HEAD, crawled, page, tarred, zipped
from test_readers_documents import book, letter, packed, paragraph, said, typeset

WORDS = re.findall(
    r"\w+", "the river and the moon who first saw its light and when did it first shine on us by night"
)


def essay(generator: random.Random) -> str:
    return " ".join(" ".join(generator.choices(WORDS, k=14)).capitalize() + "." for _ in range(6))


def rows(texts: list[str]) -> str:
    return "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)


def columns(texts: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": texts}), sink)
    return bytes(sink.getvalue())


def arrow(texts: list[str]) -> bytes:
    table, sink = pa.table({"text": texts}), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def html(texts: list[str]) -> bytes:
    body = "".join(f"<p>{text}</p>" for text in texts)
    return f'<html><head><meta charset="utf-8"><title>t</title></head><body><h1>t</h1>{body}</body></html>'.encode()


def table(texts: list[str], mark: str) -> bytes:
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    return "\n".join(
        ["number" + mark + "text", *(f"{n}{mark}{text}" for n, text in enumerate(quoted))]
    ).encode()


def novel(texts: list[str]) -> bytes:
    chapters = {
        "OPS|text|one.xhtml": f"<html><body><p>{texts[0]}</p></body></html>",
        "OPS|text|two .xhtml": f"<html><body><p>{texts[1]}</p></body></html>",
    }
    return packed(book(**chapters))


KINDS: dict[str, Callable[[list[str]], bytes]] = {
    "plain.txt": lambda texts: "\n\n".join(texts).encode(),
    "old.txt": lambda texts: "\n\n".join(texts).encode("gb18030"),
    "wide.txt": lambda texts: "\n\n".join(texts).encode("utf-16"),
    "rows.jsonl": lambda texts: rows(texts).encode(),
    "rows.jsonl.gz": lambda texts: gzip.compress(rows(texts).encode(), mtime=0),
    "rows.jsonl.bz2": lambda texts: bz2.compress(rows(texts).encode()),
    "rows.jsonl.xz": lambda texts: lzma.compress(rows(texts).encode()),
    "rows.jsonl.zst": lambda texts: zstandard.ZstdCompressor(write_checksum=True).compress(
        rows(texts).encode()
    ),
    "table.csv": lambda texts: table(texts, ","),
    "table.tsv": lambda texts: table(texts, "\t"),
    "columns.parquet": columns,
    "saved.arrow": arrow,
    "page.html": html,
    "notes.md": lambda texts: ("# Notes\n\n" + "\n\n".join(texts)).encode(),
    "novel.epub": novel,
    "paper.pdf": lambda texts: typeset(texts, chinese=True),
    "letter.docx": lambda texts: packed(letter("".join(paragraph(said(text)) for text in texts))),
    "crawl.warc.gz": lambda texts: crawled(
        [("response", "200 OK", {"Content-Type": "text/html; charset=utf-8"}, html(texts))], packed=True
    ),
    "wiki.xml.bz2": lambda texts: bz2.compress(
        (
            DUMP_HEAD
            + "".join(page(str(n), text, number=n + 1) for n, text in enumerate(texts))
            + "</mediawiki>"
        ).encode()
    ),
    "bundle.zip": lambda texts: zipped({"a/b.jsonl": rows(texts).encode(), "picture.png": b"\x89PNG\0"}),
    "bundle.tar.gz": lambda texts: gzip.compress(tarred({"a/b.jsonl": rows(texts).encode()}), mtime=0),
}


def texts_of(name: str) -> list[str]:
    generator = random.Random(name)
    return [essay(generator), poem(generator).replace("\n", "") * 3, essay(generator)]


def damaged(name: str, raw: bytes) -> bytes:
    """Break a file the way its kind breaks."""
    if name.endswith((".txt", ".md")):
        return (
            raw[: len(raw) // 2] + b"\0\0\0" + raw[len(raw) // 2 :]
            if name != "wide.txt"
            else b"\xff\xfe\0\xd8\0\xd8"
        )
    if name in ("rows.jsonl",):
        return raw + b'{"text": "cut sh\n'
    if name.startswith("table"):
        return raw + b'\n9\t"torn'.replace(b"\t", b"," if name.endswith("csv") else b"\t")
    if name == "page.html":
        return b"<html><body><script>1</script></body></html>"
    return raw[: len(raw) // 2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("kinds")
    for state in ("sound", "broken"):
        (folder / "raw" / state).mkdir(parents=True)
    for name, make in KINDS.items():
        (folder / "raw" / "sound" / name).write_bytes(make(texts_of(name)))
        (folder / "raw" / "broken" / name).write_bytes(damaged(name, make(texts_of(f"other {name}"))))
    (folder / "raw" / "broken" / "empty.txt").touch()
    (folder / "raw" / "loop").symlink_to(folder / "raw")
    data_prepare.run([str(folder / "raw"), f"out={folder / 'corpus'}", "read.on_error=skip"])
    data_report.run([str(folder / "corpus")])
    return Corpus.open(folder / "corpus")


def test_every_reader_has_a_file_here() -> None:
    others = {".htm", ".xhtml", ".markdown", ".wet", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst"}
    assert set(READERS) - {suffix(name) for name in KINDS} == others


def test_what_is_sound_is_kept_and_what_is_broken_is_named(corpus: Corpus) -> None:
    documents = [document for split in corpus.splits for document in corpus.documents(split)]
    said_by = dict.fromkeys(KINDS, "")
    for document in documents:
        for name in KINDS:
            if re.search(rf"/sound/{re.escape(name)}([:!+]|$)", document.source):
                said_by[name] += document.text
    for name in KINDS:
        flat = "".join(said_by[name].split())
        for text in texts_of(name)[: 2 if name == "novel.epub" else 3]:
            assert "".join(text.split())[:200] in flat, (name, text[:40])
    broken = " ".join(example["source"] for example in corpus.dropped() if example["step"] == "read")
    missing = [name for name in [*KINDS, "empty.txt"] if f"broken/{name}" not in broken]
    assert not missing
    step = corpus.manifest["steps"][0]
    assert sum(step["dropped"].values()) >= len(KINDS)


def test_the_page_shows_what_was_broken(corpus: Corpus) -> None:
    page_text = (corpus.folder / "report.html").read_text(encoding="utf-8")
    for word in ("broken records", "unreadable file", "paper.pdf", "gb18030", "utf-16"):
        assert word in page_text, word
