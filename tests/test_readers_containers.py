"""Readers of containers and dumps: what lies in archives, tables in columns, crawls, wikis and datasets."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import json
import lzma
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.reading import Reader, Reading
from rootlm.text.readers import bounds, warc, wiki
from rootlm.text.readers.archive import read_tar, read_zip
from rootlm.text.readers.hub_dataset import hub_files, read_arrow, saved_files
from rootlm.text.readers.parquet import read_parquet
from rootlm.text.readers.read import READERS, read
from rootlm.text.readers.warc import read_warc
from rootlm.text.readers.wiki import read_wiki
from rootlm.text.readers.wikitext import Wiki

POEM = "床前明月光，疑是地上霜。"
TALE = "It was the best of times."
DUMP_HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="zh">
<siteinfo><sitename>Wikipedia</sitename><namespaces><namespace key="0" case="first-letter" />
<namespace key="6" case="first-letter">Datei</namespace><namespace key="14">Kategorie</namespace>
</namespaces></siteinfo>
"""


def page(title: str, text: str, space: int = 0, number: int = 1, more: str = "") -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    revision = f"<revision><id>9{number}</id><contributor><id>7</id></contributor><model>wikitext</model>"
    return (
        f"<page><title>{title}</title><ns>{space}</ns><id>{number}</id>{more}{revision}"
        f'<text bytes="1" xml:space="preserve">{text}</text></revision></page>\n'
    )


MINE: Mapping[str, Reader] = {
    ".zip": read_zip,
    ".tar": read_tar,
    ".tgz": read_tar,
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".warc": read_warc,
    ".xml": read_wiki,
}


@pytest.fixture(autouse=True)
def readers(monkeypatch: pytest.MonkeyPatch) -> None:
    for suffix, reader in MINE.items():
        monkeypatch.setitem(READERS, suffix, reader)  # type: ignore[arg-type]


def everything(path: Path, faults: Faults | None = None, **settings: Any) -> list[Document]:
    return list(read(path, Reading(**settings), faults or Faults("stop")))


def skipping(path: Path, **settings: Any) -> tuple[list[Document], Faults]:
    faults = Faults("skip")
    return everything(path, faults, **settings), faults


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return stream.getvalue()


def tarred(members: Mapping[str, bytes], kinds: Mapping[str, bytes] | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", **options) as archive:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            info.type = (kinds or {}).get(name, tarfile.REGTYPE)
            info.linkname = "elsewhere.txt" if info.type != tarfile.REGTYPE else ""
            info.size = len(raw) if info.type == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(raw))
    return stream.getvalue()


PACKERS: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "a.zip": zipped,
    "stored.zip": lambda members: zipped(members, zipfile.ZIP_STORED),
    "bzip.zip": lambda members: zipped(members, zipfile.ZIP_BZIP2),
    "lzma.zip": lambda members: zipped(members, zipfile.ZIP_LZMA),
    "a.zip.gz": lambda members: gzip.compress(zipped(members)),
    "a.tar": tarred,
    "gnu.tar": lambda members: tarred(members, format=tarfile.GNU_FORMAT),
    "pax.tar": lambda members: tarred(members, format=tarfile.PAX_FORMAT),
    "a.tar.gz": lambda members: gzip.compress(tarred(members)),
    "a.tgz": lambda members: gzip.compress(tarred(members)),
    "a.tar.bz2": lambda members: bz2.compress(tarred(members)),
    "a.tar.xz": lambda members: lzma.compress(tarred(members)),
    "a.tar.zst": lambda members: zstandard.compress(tarred(members)),
}
MEMBERS = {
    "诗/静夜思.txt": POEM.encode("gb18030"),
    "a/" + "long" * 40 + "/tale.txt": TALE.encode(),
    "data.jsonl.gz": gzip.compress(
        json.dumps({"text": POEM, "author": "李白"}).encode() + b'\n{"text": "b"}'
    ),
    "empty/": b"",
    "picture.png": b"\x89PNG",
    "notes": b"x",
    "__MACOSX/._tale.txt": b"\0\5\26\7",
    ".hidden.txt": b"x",
}


@pytest.mark.parametrize("name", PACKERS)
def test_every_member_is_read_by_its_own_reader(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(PACKERS[name]({key: raw for key, raw in MEMBERS.items() if not key.endswith("/")}))
    said: list[str] = []
    found = everything(file, Faults("stop", said.append))
    first, second, third = list(MEMBERS)[:3]
    assert [(document.source, document.text) for document in found] == [
        (f"{file}!{first}:1", POEM),
        (f"{file}!{second}:1", TALE),
        (f"{file}!{third}:1", POEM),
        (f"{file}!{third}:2", "b"),
    ]
    assert found[2].meta == {"author": "李白"}
    passed = "4 members that have no reader (1 × .png, 2 × .txt, 1 × no suffix)"
    assert [words for words in said if "passed over" in words] == [f"{file}: passed over {passed}"]


def test_names_that_windows_wrote_in_china_are_shown_right(tmp_path: Path) -> None:
    raw = zipped({"abcd.txt": POEM.encode(), "caf\u00e9.txt": b"b"})
    (tmp_path / "a.zip").write_bytes(raw.replace(b"abcd.txt", "静夜.txt".encode("gb18030")))
    assert [document.source for document in everything(tmp_path / "a.zip")] == [
        f"{tmp_path}/a.zip!静夜.txt:1",
        f"{tmp_path}/a.zip!caf\u00e9.txt:1",
    ]


@pytest.mark.parametrize("pack", [zipped, tarred, lambda members: gzip.compress(tarred(members))])
def test_archives_in_archives_are_read_three_deep(tmp_path: Path, pack: Callable[..., bytes]) -> None:
    kind = ".zip" if pack is zipped else ".tar"
    raw = pack({"poem.txt": POEM.encode()})
    for depth in range(3):
        (tmp_path / f"a{kind}").write_bytes(raw)
        (document,) = everything(tmp_path / f"a{kind}")
        assert (document.text, document.source.count("!")) == (POEM, depth + 1)
        raw = pack({f"b{kind}": raw, "tale.txt": TALE.encode()} if depth == 2 else {f"b{kind}": raw})
    (tmp_path / f"a{kind}").write_bytes(raw)
    with pytest.raises(
        ValueError, match=rf"b{kind}!b{kind}!b{kind}: lies in 3 archives; unpack the outer one"
    ):
        everything(tmp_path / f"a{kind}")
    found, faults = skipping(tmp_path / f"a{kind}")
    assert ([document.text for document in found], faults.counts) == ([TALE], {"nested archive": 1})


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.xz"])
@pytest.mark.parametrize("inner", ["", "b.zip", "b.txt.gz", "b.parquet.xz"])
def test_a_bomb_is_refused_and_what_came_before_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, inner: str
) -> None:
    monkeypatch.setattr(bounds, "LIMITS", replace(bounds.LIMITS, harmless=1 << 20))
    bomb = {"bomb.txt": b"0" * (1 << 22), "after.txt": b"c"}
    zeros = b"0" * (1 << 22)
    packed = {"b.zip": zipped(bomb), "b.txt.gz": gzip.compress(zeros), "b.parquet.xz": lzma.compress(zeros)}
    members = {"first.txt": b"a", **({inner: packed[inner]} if inner else bomb), "after.txt": b"c"}
    raw = PACKERS[name](members)
    (tmp_path / name).write_bytes(raw)
    if 200 * len(raw) > (1 << 22):
        assert len(everything(tmp_path / name, max_document_characters=None)) == 3
        return
    place = f"{tmp_path}/{name}"
    with pytest.raises(
        ValueError, match=f"{place}: unpacks to more than 200 times its size.*; unpack it yourself"
    ):
        everything(tmp_path / name)
    found, faults = skipping(tmp_path / name)
    assert [document.text for document in found if document.text.strip("0")] == ["a"]
    assert faults.counts == {"refused archive": 1}
    assert faults.examples["refused archive"][0].startswith(f"{place}: ")


def test_a_bomb_of_members_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LIMITS", replace(bounds.LIMITS, members=3))
    (tmp_path / "a.tar").write_bytes(tarred({f"{number}.txt": b"x" for number in range(5)}))
    found, faults = skipping(tmp_path / "a.tar")
    assert (len(found), faults.counts) == (3, {"refused archive": 1})


def test_a_list_of_members_that_fills_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "LIMITS", replace(bounds.LIMITS, index=100))
    (tmp_path / "a.zip").write_bytes(zipped({f"{number}.txt": b"x" for number in range(5)}))
    with pytest.raises(ValueError, match=r"a\.zip: lists its members in 255 bytes"):
        everything(tmp_path / "a.zip")


def test_a_tar_that_says_too_much_about_a_member_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(info.tobuf() + bytes(1 << 21)))
    with pytest.raises(
        ValueError, match=r"a\.tar\.gz: cannot be read .*1,073,741,\d+ bytes about one member"
    ):
        everything(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("stated", [3, 300_000])
def test_a_size_that_lies_is_noticed_while_reading(tmp_path: Path, stated: int) -> None:
    raw = zipped({"a.txt": b"before", "lie.txt": TALE.encode() * 9, "z.txt": b"after"})
    true = struct.pack("<I", 9 * len(TALE))
    begin = raw.index(b"PK\1\2", raw.index(b"PK\1\2") + 1)
    at = raw.index(true, begin)
    (tmp_path / "a.zip").write_bytes(raw[:at] + struct.pack("<I", stated) + raw[at + 4 :])
    with pytest.raises(ValueError, match=r"a\.zip!lie\.txt: (cannot be unpacked|holds 225 bytes, but)"):
        everything(tmp_path / "a.zip")
    found, faults = skipping(tmp_path / "a.zip")
    assert [document.text for document in found] == ["before", "after"]
    assert faults.counts == {"broken member": 1}


def test_a_local_header_that_lies_about_the_size_changes_nothing(tmp_path: Path) -> None:
    raw = zipped({"lie.txt": TALE.encode() * 9})
    true = struct.pack("<I", 9 * len(TALE))
    (tmp_path / "a.zip").write_bytes(raw.replace(true, struct.pack("<I", 1 << 31), 1))
    (document,) = everything(tmp_path / "a.zip")
    assert document.text == TALE * 9


def test_an_encrypted_member_is_a_fault(tmp_path: Path) -> None:
    raw = bytearray(zipped({"secret.txt": b"abc", "open.txt": b"def"}))
    raw[6] |= 1
    raw[raw.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(
        ValueError, match=r"a\.zip!secret\.txt: is encrypted; pack it again without a password"
    ):
        everything(tmp_path / "a.zip")
    found, faults = skipping(tmp_path / "a.zip")
    assert ([document.text for document in found], faults.counts) == (["def"], {"encrypted member": 1})


@pytest.mark.parametrize("name", ["/etc/a.txt", "../a.txt", "b/../../a.txt", "C:\\a.txt", "..\\a.txt"])
@pytest.mark.parametrize("kind", ["a.zip", "a.tar"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / kind).write_bytes(PACKERS[kind]({name: b"x", "fine..txt": b"y"}))
    with pytest.raises(ValueError, match=r"a\.txt: has a name that leads out of the archive; pack it again"):
        everything(tmp_path / kind)
    found, faults = skipping(tmp_path / kind)
    assert ([document.text for document in found], faults.counts) == (["y"], {"refused member": 1})


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    raw = tarred({"odd.txt": b"", "lib.so": b"", "fine.txt": b"y"}, {"odd.txt": kind, "lib.so": kind})
    (tmp_path / "a.tar").write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.tar!odd\.txt: is a link or a device"):
        everything(tmp_path / "a.tar")
    found, faults = skipping(tmp_path / "a.tar")
    assert ([document.text for document in found], faults.counts) == (["y"], {"refused member": 1})


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        info = zipfile.ZipInfo("odd.txt")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("fine.txt", "y")
    found, faults = skipping(tmp_path / "a.zip")
    assert ([document.text for document in found], faults.counts) == (["y"], {"refused member": 1})


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_an_empty_archive_is_a_fault(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(PACKERS[name]({}))
    with pytest.raises(ValueError, match=rf"{name}: the archive holds no file; remove it"):
        everything(tmp_path / name)


@pytest.mark.parametrize("raw", [b"", b"PK", b"no archive at all" * 99, b"\x1f\x8b\x08"])
@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz"])
def test_what_is_no_archive_is_a_fault(tmp_path: Path, name: str, raw: bytes) -> None:
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(
        ValueError, match=rf"{name}: cannot be read to its end \(.*\); mend or replace the file"
    ):
        everything(tmp_path / name)
    assert skipping(tmp_path / name)[1].counts == {"broken archive": 1}


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.tar.zst"])
def test_a_torn_archive_gives_what_is_whole(tmp_path: Path, name: str) -> None:
    noise = os.urandom(40_000).hex().encode()
    raw = PACKERS[name]({"a.txt": b"whole", "b.txt": noise, "c.txt": noise})
    (tmp_path / name).write_bytes(raw[: len(raw) * 4 // 5])
    with pytest.raises(
        ValueError, match=rf"{name}: .*; mend or replace the file, or set read\.on_error=skip"
    ):
        everything(tmp_path / name)
    found, faults = skipping(tmp_path / name)
    assert faults.counts == {"broken archive": 1}
    # The list of a zip's members stands at its end.
    assert {document.source.partition("!")[2][:1] for document in found} <= (
        {"a", "b"} if name != "a.zip" else set()
    )


def test_a_tar_that_goes_on_with_nonsense_is_a_fault(tmp_path: Path) -> None:
    raw = tarred({"a.txt": b"a", "b.txt": b"b"})
    (tmp_path / "a.tar").write_bytes(raw[:1024] + b"x" * 512 + raw[1536:])
    found, faults = skipping(tmp_path / "a.tar")
    assert ([document.text for document in found], faults.counts) == (["a"], {"broken archive": 1})


def test_good_and_bad_members_are_told_apart_by_place(tmp_path: Path) -> None:
    torn = gzip.compress(os.urandom(999).hex().encode())[:-300]
    raw = zipped(
        {
            "1.txt": POEM.encode(),
            "2.txt": b"",
            "3.jsonl": b'{"text": "x"}\n{"text": \n{"body": "y"}\n{"text": "z"}\n',
            "4.txt.gz": torn,
            "5.zip": zipped({"in.txt": TALE.encode(), "bad.txt": b"a\xff\xff\xff\n" + POEM.encode() * 9}),
            "6.zip": b"PK nonsense",
            "7.txt": b"corrupted content",
            "8.txt": b"last",
        },
        zipfile.ZIP_STORED,
    )
    file = tmp_path / "a.zip"
    file.write_bytes(raw.replace(b"corrupted content", b"corrupted c0ntent"))
    found, faults = skipping(file)
    assert [document.text for document in found] == [POEM, "x", "z", TALE, POEM * 9, "last"]
    assert [document.source.removeprefix(f"{file}!") for document in found][3] == "5.zip!in.txt:1"
    assert faults.counts == {
        "empty file": 1,
        "broken JSON": 1,
        "no text": 1,
        "unreadable file": 1,
        "undecodable line": 1,
        "broken archive": 1,
        "broken member": 1,
    }
    assert faults.examples["undecodable line"][0].startswith(f"{file}!5.zip!bad.txt:1: byte 0xff")
    assert faults.examples["broken member"][0].startswith(f"{file}!7.txt: cannot be unpacked (Bad CRC-32")


WHOLE = {
    name: PACKERS[name](
        {"诗.txt": POEM.encode(), "b.txt": TALE.encode() * 50, "c.zip": zipped({"d.txt": b"d"})}
    )
    for name in ("a.zip", "a.tar", "a.tar.gz")
}


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(list(WHOLE)))
    raw = bytearray(WHOLE[name])
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("damaged") / name
    file.write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    skipping(file)


_MEASURE = """
import sys
from pathlib import Path
from rootlm.core.machine import peak_memory
from rootlm.text.raw.faults import Faults
from rootlm.text.readers import archive, parquet, warc, wiki, hub_dataset
from rootlm.text.readers.read import READERS, read
from rootlm.text.raw.reading import Reading
READERS.update({".zip": archive.read_zip, ".tar": archive.read_tar, ".parquet": parquet.read_parquet})
READERS.update({".xml": wiki.read_wiki, ".arrow": hub_dataset.read_arrow})
list(read(Path(sys.argv[1]), Reading(), Faults("skip")))
before = peak_memory()
count = sum(len(document.text) for document in read(Path(sys.argv[2]), Reading(), Faults("stop")))
print(count, (peak_memory() - before) >> 20)
"""


def _line(number: int) -> str:
    return f"{number:09d} {number * 7919 % 1_000_003} {POEM} {number * 104_729 % 999_983}\n"


def _large_zip(folder: Path, megabytes: int) -> Path:
    file = folder / f"{megabytes}.zip"
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.txt", "w") as stream,
    ):
        for start in range(0, megabytes * 16_000, 16_000):
            stream.write("".join(map(_line, range(start, start + 16_000))).encode())
    return file


def _large_parquet(folder: Path, megabytes: int) -> Path:
    file = folder / f"{megabytes}.parquet"
    texts = ["".join(map(_line, range(start, start + 160))) for start in range(0, megabytes * 16_000, 160)]
    pq.write_table(pa.table({"text": texts}), file, row_group_size=1 << 30, compression="zstd")
    return file


def _large_arrow(folder: Path, megabytes: int) -> Path:
    file = folder / f"{megabytes}.arrow"
    schema = pa.schema([("text", pa.string())])
    with pa.OSFile(str(file), "wb") as stream, pa.ipc.new_stream(stream, schema) as writer:
        for start in range(0, megabytes * 16_000, 16_000):
            texts = [
                "".join(map(_line, range(first, first + 160))) for first in range(start, start + 16_000, 160)
            ]
            writer.write_batch(pa.record_batch({"text": texts}, schema=schema))
    return file


def _large_xml(folder: Path, megabytes: int) -> Path:
    file = folder / f"{megabytes}.xml"
    with file.open("w", encoding="utf-8") as stream:
        stream.write(DUMP_HEAD)
        for number in range(megabytes * 10):
            stream.write(page(f"p{number}", "".join(map(_line, range(number * 1600, number * 1600 + 1600)))))
        stream.write("</mediawiki>")
    return file


@pytest.mark.parametrize(
    ("make", "size", "most"),
    [(_large_zip, 24, 12), (_large_parquet, 64, 60), (_large_arrow, 24, 12), (_large_xml, 24, 12)],
)
def test_memory_stays_small(tmp_path: Path, make: Callable[[Path, int], Path], size: int, most: int) -> None:
    small, large = make(tmp_path, 1), make(tmp_path, size)
    ended = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(small), str(large)], capture_output=True, text=True, check=True
    )
    characters, grown = map(int, ended.stdout.split())
    assert characters > 500_000 * size
    assert grown < most


TYPES = {
    "text": pa.array([POEM, TALE, "c"]),
    "author": pa.array(["李白", "Dickens", None]).dictionary_encode(),
    "year": pa.array([744, 1859, None], pa.int16()),
    "score": pa.array([0.5, None, 1.0]),
    "good": pa.array([True, False, None]),
    "price": pa.array([Decimal("1.50"), None, None]),
    "day": pa.array([datetime.date(2024, 2, 29), None, None]),
    "at": pa.array([1_700_000_000_123_456_789, None, None], pa.timestamp("ns", "Asia/Shanghai")),
    "hour": pa.array([1_000_000_001, None, None], pa.time64("ns")),
    "tags": pa.array([["a"], [], None]),
    "more": pa.array([{"a": 1}, None, None]),
    "raw": pa.array([b"\xff", None, None]),
    "took": pa.array([5, None, None], pa.duration("s")),
}
META = [
    {"author": "李白", "year": 744, "score": 0.5, "good": True, "price": "1.50", "day": "2024-02-29"},
    {"author": "Dickens", "year": 1859, "score": None, "good": False, "price": None, "day": None},
]


def _write_parquet(file: Path, table: pa.Table, **options: Any) -> None:
    pq.write_table(table, file, **options)


def _write_arrow_stream(file: Path, table: pa.Table, **_: Any) -> None:
    with pa.OSFile(str(file), "wb") as stream, pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def _write_arrow_file(file: Path, table: pa.Table, **_: Any) -> None:
    with pa.OSFile(str(file), "wb") as stream, pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


TABLES = {
    "a.parquet": _write_parquet,
    "stream.arrow": _write_arrow_stream,
    "file.arrow": _write_arrow_file,
}


@pytest.mark.parametrize("packing", ["", ".gz"])
@pytest.mark.parametrize("name", TABLES)
def test_a_column_is_the_text_and_plain_columns_are_meta(tmp_path: Path, name: str, packing: str) -> None:
    file = tmp_path / name
    TABLES[name](file, pa.table(TYPES), row_group_size=2)
    if packing:
        raw = file.read_bytes()
        file = tmp_path / f"{name}{packing}"
        file.write_bytes(gzip.compress(raw))
    found = everything(file)
    assert [document.text for document in found] == [POEM, TALE, "c"]
    assert [document.source for document in found] == [f"{file}:{row}" for row in (1, 2, 3)]
    at, hour = "2023-11-14T22:13:20.123456+00:00", "00:00:01.000000"
    assert found[0].meta == {**META[0], "at": at, "hour": hour.removesuffix(".000000")}
    assert found[1].meta == {**META[1], "at": None, "hour": None}
    json.dumps([dict(document.meta) for document in found])


@pytest.mark.parametrize("name", TABLES)
def test_rows_without_text_are_named(tmp_path: Path, name: str) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(struct.pack("<ii", 0, 2)), pa.py_buffer(b"\xff\xff")]
    )
    column = pa.chunked_array([pa.array([POEM, None]), broken, pa.array(["", TALE])])
    TABLES[name](tmp_path / name, pa.table({"body": column, "n": range(5)}))
    with pytest.raises(ValueError, match=rf'{name}: no column "text".*set read\.text_key=NAME'):
        everything(tmp_path / name)
    with pytest.raises(ValueError, match=rf'{name}:2: "body" is not a string'):
        everything(tmp_path / name, text_key="body")
    found, faults = skipping(tmp_path / name, text_key="body")
    assert [document.source.rpartition(":")[2] for document in found] == ["1", "5"]
    assert faults.counts == {"no text": 1, "undecodable row": 1}
    assert faults.examples["undecodable row"][0].startswith(f"{tmp_path / name}:3: ")


@pytest.mark.parametrize("name", TABLES)
def test_lists_of_strings_are_joined(tmp_path: Path, name: str) -> None:
    TABLES[name](tmp_path / name, pa.table({"text": pa.array([["一", "二"], ["a"]])}))
    assert [document.text for document in everything(tmp_path / name)] == ["一\n二", "a"]


@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_is_a_fault(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    table = pa.table({"text": [f"{number} {os.urandom(200).hex()}" for number in range(400)]})
    TABLES[name](file, table, row_group_size=100)
    raw = file.read_bytes()
    for damaged in (b"", b"nonsense" * 20, raw[: len(raw) // 2], raw[:-6] + b"\xff\xff\xff\xffPA"):
        file.write_bytes(damaged)
        _, faults = skipping(file)
        is_whole = damaged[:-6] == raw[:-6] and name == "file.arrow"
        assert sum(faults.counts.values()) == (0 if is_whole else 1)
    if name == "a.parquet":
        file.write_bytes(raw)
        at = pq.read_metadata(file).row_group(1).column(0).dictionary_page_offset
        file.write_bytes(raw[:at] + b"\xff" * 3000 + raw[at + 3000 :])
        found, faults = skipping(file)
        assert len(found) >= 300 and {document.source.rpartition(":")[2] for document in found} >= {
            "1",
            "400",
        }
        assert faults.counts == {"broken rows": 1}


@pytest.mark.parametrize("name", TABLES)
def test_no_damaged_table_escapes_as_another_error(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    TABLES[name](file, pa.table({**TYPES, "long": [POEM * 99] * 3}))
    raw = file.read_bytes()
    for at in range(0, len(raw), max(len(raw) // 150, 1)):
        file.write_bytes(raw[:at] + bytes([raw[at] ^ 0x55]) + raw[at + 1 :])
        skipping(file, text_key="text")


PAGE = f"<html lang=zh><head><title>静夜思</title></head><body><p>{POEM * 9}</p></body></html>"
HTML = {"Content-Type": "text/html; charset=utf-8"}
TEXT = {"Content-Type": "text/plain"}


def crawled(records: list[tuple[str, str, dict[str, str], bytes]], packed: bool = False) -> bytes:
    stream = io.BytesIO()
    writer = WARCWriter(stream, gzip=packed)
    for number, (kind, status, headers, body) in enumerate(records):
        http = StatusAndHeaders(status, list(headers.items()), protocol="HTTP/1.1") if status else None
        options: dict[str, Any] = {"http_headers": http}
        if http is None:
            options = {"warc_content_type": headers["Content-Type"]}
        options["warc_headers_dict"] = {"WARC-Date": "2024-02-29T12:00:00Z"}
        place, payload = f"http://诗.cn/{number}", io.BytesIO(body)
        writer.write_record(writer.create_warc_record(place, kind, payload=payload, **options))
    return stream.getvalue()


def chunks(body: bytes) -> bytes:
    parts = [body[at : at + 50] for at in range(0, len(body), 50)]
    return b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _deflate(body: bytes, window: int) -> bytes:
    packing = zlib.compressobj(wbits=window)
    return packing.compress(body) + packing.flush()


WEB: dict[str, tuple[dict[str, str], Callable[[bytes], bytes]]] = {
    "plain": ({}, bytes),
    "chunked": ({"Transfer-Encoding": "chunked"}, chunks),
    "gzip": ({"Content-Encoding": "gzip"}, gzip.compress),
    "deflate": ({"Content-Encoding": "deflate"}, lambda body: _deflate(body, 15)),
    "bare deflate": ({"Content-Encoding": "Deflate"}, lambda body: _deflate(body, -15)),
    "zstd": ({"Content-Encoding": "zstd"}, zstandard.compress),
    "both": (
        {"Content-Encoding": "gzip", "transfer-encoding": "Chunked"},
        lambda body: chunks(gzip.compress(body)),
    ),
    "headers only": ({"Content-Encoding": "gzip", "Transfer-Encoding": "chunked"}, bytes),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("sent", WEB)
def test_pages_of_a_crawl_are_read_however_they_were_sent(tmp_path: Path, sent: str, packed: bool) -> None:
    headers, pack = WEB[sent]
    file = tmp_path / ("a.warc.gz" if packed else "a.warc")
    gbk = {"Content-Type": "text/plain; charset=GBK", **headers}
    records = [
        ("response", "200 OK", {**HTML, **headers}, pack(PAGE.encode())),
        ("request", "GET / HTTP/1.1", {"Host": "a.cn"}, b""),
        ("response", "200 OK", gbk, pack(POEM.encode("gbk"))),
        ("response", "404 Not Found", HTML, PAGE.encode()),
        ("response", "200 OK", {"Content-Type": "image/png"}, b"\x89PNG"),
        ("resource", "", {"Content-Type": "text/plain"}, TALE.encode()),
    ]
    file.write_bytes(crawled(records, packed))
    found = everything(file)
    assert [document.text for document in found] == [POEM * 9, POEM, TALE]
    assert [document.source for document in found] == [f"{file}:record {number}" for number in (1, 3, 6)]
    date = "2024-02-29T12:00:00Z"
    assert found[0].meta == {"title": "静夜思", "lang": "zh", "url": "http://诗.cn/0", "date": date}
    assert found[1].meta == {"url": "http://诗.cn/2", "date": date}


def test_the_text_of_pages_is_read_from_wet(tmp_path: Path) -> None:
    records = [
        ("conversion", "", TEXT, f"标题\r\n{POEM}".encode()),
        ("metadata", "", TEXT, b"x"),
        ("conversion", "", TEXT, b""),
    ]
    (tmp_path / "a.warc").write_bytes(crawled(records))
    (document,) = everything(tmp_path / "a.warc")
    assert (document.text, document.source) == (f"标题\n{POEM}", f"{tmp_path}/a.warc:record 1")
    assert document.meta == {"url": "http://诗.cn/0", "date": "2024-02-29T12:00:00Z"}


@pytest.mark.parametrize(
    ("named", "meta"), [("", ""), ("GB2312", ""), ("iso-8859-1", "gb2312"), ("utf-8", ""), ("none", "")]
)
def test_what_is_said_about_an_encoding_is_checked(tmp_path: Path, named: str, meta: str) -> None:
    source = PAGE.replace("<head>", f"<head><meta charset={meta}>" if meta else "<head>")
    headers = {"Content-Type": f"text/html; charset={named}" if named else "text/html"}
    raw = crawled([("response", "200 OK", headers, source.encode("gb18030"))])
    (tmp_path / "a.warc").write_bytes(raw)
    assert [document.text for document in everything(tmp_path / "a.warc")] == [POEM * 9]


THREE = [("response", "200 OK", TEXT, text.encode() * 9) for text in ("一", "二", "三")]


def _damaged_crawls() -> Iterator[tuple[str, bytes, list[str], dict[str, int]]]:
    raw = crawled(THREE)
    second = raw.index(b"WARC/1", 9)
    third = raw.index(b"WARC/1", second + 1)
    length = raw.index(b"Content-Length", second)
    end = raw.index(b"\r\n", length)
    yield "cut in a body", raw[: third - 9], ["一"], {"truncated record": 1}
    yield "cut in a head", raw[: second + 40], ["一"], {"broken record": 1}
    yield "garbage", raw[:second] + b"junk\r\n\r\n" + raw[second:], ["一", "二", "三"], {"broken record": 1}
    yield "long", raw[:length] + b"Content-Length: 99999" + raw[end:], ["一"], {"truncated record": 1}
    yield "short", raw[:length] + b"Content-Length: 50" + raw[end:], ["一", "三"], {"broken record": 1}
    yield "no length", raw[:length] + b"X" + raw[length + 1 :], ["一", "三"], {"broken record": 1}
    yield "no crawl", b"hello\r\n" * 99, [], {"broken record": 1}
    noise = [("response", "200 OK", TEXT, (text + os.urandom(90_000).hex()).encode()) for text in "一二三"]
    packed = crawled(noise, packed=True)
    yield "torn gzip", packed[:-20], ["一", "二"], {"unreadable file": 1}
    sent = gzip.compress("二".encode() * 9)
    broken = sent[:12] + b"\xff" * 9 + sent[21:]
    for name, headers, body in (
        ("torn body", {"Content-Encoding": "gzip"}, sent[:-9]),
        ("broken body", {"Content-Encoding": "gzip"}, broken),
        ("torn chunk", {"Transfer-Encoding": "chunked"}, chunks(sent)[:-9]),
        ("unknown packing", {"Content-Encoding": "br"}, sent),
        ("bomb", {"Content-Encoding": "gzip"}, gzip.compress(bytes(warc.LARGEST_RECORD + 1), 1)),
    ):
        records = [THREE[0], ("response", "200 OK", {**TEXT, **headers}, body), THREE[2]]
        yield name, crawled(records), ["一", "三"], {"broken body": 1}
    records = [THREE[0], ("response", "200 OK", TEXT, b"a\xff\xfe\xfd" + "二".encode() * 99), THREE[2]]
    yield "broken bytes", crawled(records), ["一", "三"], {"undecodable record": 1}


@pytest.mark.parametrize(
    ("raw", "expected", "counts"), [pytest.param(*case[1:], id=case[0]) for case in _damaged_crawls()]
)
def test_a_damaged_crawl_loses_only_what_is_damaged(
    tmp_path: Path, raw: bytes, expected: list[str], counts: dict[str, int]
) -> None:
    file = tmp_path / ("a.warc.gz" if raw.startswith(b"\x1f") else "a.warc")
    file.write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.warc.*read\.on_error=skip"):
        everything(file)
    found, faults = skipping(file, max_document_characters=None)
    assert [document.text[0] for document in found] == expected
    assert faults.counts == counts


def test_a_record_that_is_too_large_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warc, "LARGEST_RECORD", 200)
    large = b"x" * 999
    records = [THREE[0], ("response", "200 OK", TEXT, large), ("metadata", "", TEXT, large), THREE[2]]
    (tmp_path / "a.warc").write_bytes(crawled(records))
    found, faults = skipping(tmp_path / "a.warc")
    assert ([document.text[0] for document in found], faults.counts) == (["一", "三"], {"too large": 1})
    assert faults.examples["too large"][0].startswith(f"{tmp_path}/a.warc:record 2: ")


CRAWL = crawled(
    [("response", "200 OK", {**HTML, **WEB["both"][0]}, chunks(gzip.compress(PAGE.encode()))), THREE[0]]
)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_no_damaged_crawl_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(CRAWL)
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("damaged") / "a.warc"
    file.write_bytes(raw)
    skipping(file)


WIKITEXT = {
    "'''Bold''' and ''italic'' and '''''both'''''": "Bold and italic and both",
    "[[fox (animal)|fox]]es [[jump]]ed [[a|b|c]] [[:Category:X]] [[#p|here]]": "foxes jumped b|c Category:X here",
    "a[[File:x.jpg|thumb|a [[link]] and {{t}}]]b[[文件:茶.jpg]]c[[Kategorie:T]][[分類:茶]][[Datei:y]]": "abc",
    "a{{x|{{y|[[z]]}}|b={{{1}}}}}b{{\nInfobox\n|a=1\n}}c": "abc",
    "茶{{lang|en|tea}}、{{le|陆羽|Lu Yu}}、{{tsl|en|Tea room||茶道}}": "茶tea、陆羽、茶道",
    "{{link-ja|千利休|千利休|利休}}和{{nowrap|5 km}}": "利休和5 km",
    "a<ref>b</ref>c<ref name=x/>d<ref name='y'>{{cite}}</REF >e<references />": "acde",
    "a<!-- b\n -->c<!-- never ends": "ac",
    "x\n{| class=a\n! h\n|-\n| {{t}} || b\n{|\n| in\n|}\n|}\ny": "x\n\ny",
    "a<br>b<br />c<span style='x'>d</span>H<sub>2</sub>O": "a\nb\ncdH2O",
    "[http://a.b tea shop] [https://a.b/c] [//a.b x] http://kept.cn [1]": "tea shop  x http://kept.cn [1]",
    "<nowiki>[[a]] {{b}} '''c''' &amp;</nowiki> <nowiki/>d": "[[a]] {{b}} '''c''' & d",
    "<math>x^2\n + \\frac{{a}}{b}</math>": "$x^2 + \\frac{{a}}{b}$",
    "* a\n** b\n# c\n: d\n; e": "- a\n- b\n- c\nd\ne",
    "== A ==\ntext\n=== B ===\n== C ==\n=== D ===\n* x\n== 参考文献 ==\n{{reflist}}": "A\ntext\nC\nD\n- x",
    "a &amp; b &lt;ref&gt; &nbsp;c __NOTOC__ __無目錄__": "a & b <ref> \xa0c",
    "茶（{{lang-en|tea}}，）是（{{py}}，chá）饮料 ( )": "茶是（chá）饮料",
    "-{zh-hans:信息;zh-hant:資訊}-和-{zh-tw:軟體; zh-cn:软件;}-": "信息和软件",
    "-{zh-tw:台灣;zh-hk:香港}--{原样}--{R|不变}--{zh-hans;zh-hant|显}-": "台灣原样不变显",
    "a-{H|zh-cn:博客;zh-tw:部落格}-b-{T|zh-cn:茶}-c-{A|zh-cn:网;zh-tw:網}-d": "abc网d",
    "-{巨集=>zh-cn:宏;}-": "宏",
    "[[a -{zh-cn:信息;zh-tw:資訊}-|-{zh-cn:信息;zh-tw:資訊}-]]": "信息",
    "{{a|[[b}} c": "c",
    "{{never closed [[x]]": "never closed x",
    "[[a {{b}}": "[[a",
    "a]] b}} c}- d|} |e": "a]] b}} c}- d|} |e",
    "1 < 2 > 1 <unknown>x</unknown> <3": "1 < 2 > 1 <unknown>x</unknown> <3",
    "a\n\n\n\nb\n----\nc": "a\n\nb\nc",
    "[[en:Tea]][[zh-min-nan:Tê]]x[[wikt:tea|tea]]": "xtea",
    "": "",
}
MARKS = list("|;a茶(\n =") + re.findall(r"\S+", "{{ }} [[ ]] {| |} -{ }- ''' <ref> </ref> <!-- --> ==")
MARKS += ["zh-cn:", "<nowiki>", "</nowiki>", "* "]
MARKS += ["<math>", "</math>", "\x7f0\x7f", "&lt;", "(", "\n", "* ", " "]


@pytest.mark.parametrize("markup", WIKITEXT)
def test_wikitext_becomes_plain_text(markup: str) -> None:
    assert Wiki(frozenset({"Kategorie", "Datei"})).plain(markup) == WIKITEXT[markup]


@given(st.lists(st.sampled_from(MARKS), max_size=40).map("".join))
@settings(max_examples=400, deadline=None)
def test_no_markup_breaks_the_reader(markup: str) -> None:
    Wiki().plain(markup)


@pytest.mark.parametrize("end", ["", "}}", "]]"])
@pytest.mark.parametrize(
    "part",
    [*"({[|=&:-_", "{{", "[[", "{|\n", "<ref>", "{{a|", "[[a|{{b|<b>", "-{", "-{zh-cn:", "[//a ", "( "],
)
def test_time_grows_with_the_length_of_broken_markup(part: str, end: str) -> None:
    began = time.process_time()
    Wiki().plain(part * 50_000 + end * 50_000)
    assert time.process_time() - began < 15  # quadratic would be minutes


@pytest.mark.parametrize("name", ["a.xml", "a.xml.bz2"])
def test_articles_of_a_dump_are_read(tmp_path: Path, name: str) -> None:
    head = "<ns>0</ns><id>{}</id><revision>"
    dump = DUMP_HEAD + "".join(
        [
            page("静夜思", f"'''静夜思'''：{POEM}<ref>x</ref>[[Kategorie:诗]]", number=12),
            page("Talk:静夜思", "talk", space=1),
            page("Old", "#REDIRECT [[静夜思]]", number=3, more='<redirect title="静夜思" />'),
            page("A &amp; B", TALE, number=4),
            page("Empty", "{{stub}}", number=5),
            f"<page><title>History</title>{head.format(6)}<text>old</text></revision>",
            "<revision><model>wikitext</model><text>new</text></revision></page>",
            f"<page><title>Code</title>{head.format(7)}<model>json</model><text>[]</text></revision></page>",
            "</mediawiki>",
        ]
    )
    file = tmp_path / name
    file.write_bytes(bz2.compress(dump.encode()) if name.endswith("bz2") else dump.encode())
    assert everything(file) == [
        Document(f"静夜思：{POEM}", f"{file}:page 12", {"title": "静夜思"}),
        Document(TALE, f"{file}:page 4", {"title": "A & B"}),
        Document("new", f"{file}:page 6", {"title": "History"}),
    ]


BOMB = b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><mediawiki><page>&b;</page></mediawiki>'


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"<rss><item/></rss>", "no MediaWiki dump"),
        (b"", "damaged file"),
        (b"not xml", "damaged file"),
        (BOMB, "hostile XML"),
        ((DUMP_HEAD + page("a", "x"))[:-20].encode(), "damaged file"),
        (bz2.compress((DUMP_HEAD + page("a", "x") + "</mediawiki>").encode())[:-9], "unreadable file"),
    ],
)
def test_what_is_no_whole_dump_is_a_fault(tmp_path: Path, raw: bytes, reason: str) -> None:
    (tmp_path / "a.xml").write_bytes(raw)
    with pytest.raises(ValueError, match=r"a\.xml: .*, or set read\.on_error=skip"):
        everything(tmp_path / "a.xml")
    assert skipping(tmp_path / "a.xml")[1].counts == {reason: 1}


def test_a_torn_dump_gives_the_pages_before(tmp_path: Path) -> None:
    dump = DUMP_HEAD + "".join(page(f"p{number}", POEM * 99, number=number) for number in range(99))
    (tmp_path / "a.xml").write_text(dump[:-1000], encoding="utf-8")
    found, faults = skipping(tmp_path / "a.xml")
    assert (len(found), faults.counts) == (98, {"damaged file": 1})


def test_a_page_that_is_too_long_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiki, "LARGEST_PAGE", 500)
    dump = DUMP_HEAD + page("long", POEM * 99, number=1) + page("short", POEM, number=2) + "</mediawiki>"
    (tmp_path / "a.xml").write_text(dump, encoding="utf-8")
    found, faults = skipping(tmp_path / "a.xml")
    assert ([document.meta["title"] for document in found], faults.counts) == (["short"], {"too large": 1})


_SAVE = """
import datasets, pathlib, shutil, sys
folder = pathlib.Path(sys.argv[1])
rows = [{"text": text, "label": number} for number, text in enumerate(sys.argv[2:])]
train = datasets.Dataset.from_list(rows)
both = datasets.DatasetDict(train=train, test=train.select([4, 0]))
both.save_to_disk(str(folder / "both"), num_shards={"train": 2, "test": 1})
train.to_parquet(str(folder / "rows.parquet"))
files = str(folder / "rows.parquet")
loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(folder / "made"))
made = pathlib.Path(loaded["train"].cache_files[0]["filename"]).parent
cached = folder / "home/datasets/li___poems/default/0.0.0" / made.name
shutil.copytree(made, cached)
(cached / "parquet-train.arrow").rename(cached / "poems-train.arrow")
"""
ROWS = [POEM, TALE, "c", "d", "e"]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits, saved by the library itself, and the cache it would leave behind after a download."""
    folder = tmp_path_factory.mktemp("saved")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "other")}
    subprocess.run([sys.executable, "-c", _SAVE, str(folder), *ROWS], check=True, env=environment)
    return folder


def test_a_saved_dataset_is_its_files_in_order(saved: Path) -> None:
    assert saved_files(saved / "made") is None
    files = saved_files(saved / "both") or []
    assert [str(file.relative_to(saved / "both")) for file in files] == [
        "train/data-00000-of-00002.arrow",
        "train/data-00001-of-00002.arrow",
        "test/data-00000-of-00001.arrow",
    ]
    found = [document for file in files for document in everything(file)]
    assert [document.text for document in found] == [*ROWS, "e", POEM]
    assert [document.meta["label"] for document in found] == [0, 1, 2, 3, 4, 4, 0]
    assert found[3].source == f"{files[1]}:1"
    assert saved_files(saved / "both/test") == files[2:]


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("state.json", "{", r"state\.json: not valid JSON"),
        ("state.json", "[]", r"state\.json: expected an object"),
        ("state.json", '{"_data_files": [{"filename": "../x.arrow"}]}', "lists no names of files"),
        ("state.json", '{"_data_files": [{"filename": "x"}]}', r"x: is listed in state\.json but missing"),
        ("state.json", '{"_data_files": [], "_indices_data_files": [{}]}', "chosen by an index apart"),
        ("dataset_info.json", None, r"has no dataset_info\.json; copy the whole folder"),
    ],
)
def test_a_saved_dataset_that_is_not_whole_is_named(
    saved: Path, tmp_path: Path, file: str, content: str | None, problem: str
) -> None:
    shutil.copytree(saved / "both/train", tmp_path / "train")
    (tmp_path / "train" / file).unlink()
    if content is not None:
        (tmp_path / "train" / file).write_text(content)
    with pytest.raises(ValueError, match=problem):
        saved_files(tmp_path / "train")


_FETCH = """
import sys
from rootlm.text.readers.hub_dataset import hub_files
for name in sys.argv[1:]:
    try:
        print(*hub_files(name))
    except ValueError as error:
        print(error)
"""


def _fetched(names: list[str], home: Path) -> list[str]:
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", _FETCH, *names]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.splitlines()


def test_a_name_on_the_hub_stands_for_files_in_its_cache(saved: Path) -> None:
    names = ["hf://li/poems", "hf://li/poems:train", "hf://li/poems/default:train"]
    files = _fetched(names, saved / "home")
    assert len(files) == 3 and len(set(files)) == 1
    assert [document.text for document in everything(Path(files[0]))] == ROWS


def test_a_name_that_cannot_be_had_is_one_line(saved: Path) -> None:
    names = ["hf://li/missing", "hf://li/poems:missing", "hf://li/poems/missing"]
    said = _fetched(names, saved / "home")
    assert len(said) == 3
    for name, line in zip(names, said, strict=True):
        assert line.startswith(f"{name}: cannot be had (") and "HF_HUB_OFFLINE" in line


@pytest.mark.parametrize("name", ["hf://", "hf://a/b/c/d", "hf://a/b:train[:10%]", "hf://a/b:"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a name on the hub; write hf://owner/name"):
        hub_files(name)
