"""Readers: every shape, packing and encoding; every fault is one line that names place and remedy."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rootlm.core.config import validate
from rootlm.text.document import Document
from rootlm.text.raw.cut import cut
from rootlm.text.raw.encoding import detect
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.lines import blocks, lines
from rootlm.text.raw.rawfile import RawFile
from rootlm.text.raw.reading import Reading
from rootlm.text.readers.read import read
from rootlm.text.sources import Source, find

POEM = "床前明月光，\n疑是地上霜。\n\n举头望明月，\n低头思故乡。\n"
PACKING: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    # What `cat a.zst b.zst` and parallel packers write.
    ".zst in two frames": lambda raw: zstandard.compress(raw[:7]) + zstandard.compress(raw[7:]),
}
RECORDS = [
    {"text": "一首诗，两行。", "author": "李白"},
    {"text": 'He said "hi",\nand left.', "author": "Anon"},
]


def everything(path: Path, reading: Reading | None = None, faults: Faults | None = None) -> list[Document]:
    return list(read(path, reading or Reading(), faults or Faults("stop")))


def table(delimiter: str) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["author", "text"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(RECORDS)
    return stream.getvalue().encode()


SHAPES = {
    ".jsonl": "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in RECORDS).encode(),
    ".csv": table(","),
    ".tsv": table("\t"),
}


@pytest.mark.parametrize("packing", PACKING)
@pytest.mark.parametrize("shape", SHAPES)
def test_records_are_read_whatever_they_are_packed_with(tmp_path: Path, shape: str, packing: str) -> None:
    file = tmp_path / f"data{shape}{packing.partition(' ')[0]}"
    file.write_bytes(PACKING[packing](SHAPES[shape]))
    documents = everything(file)
    assert [document.text for document in documents] == [record["text"] for record in RECORDS]
    assert [document.meta for document in documents] == [{"author": "李白"}, {"author": "Anon"}]
    assert documents[0].source == f"{file}:{1 if shape == '.jsonl' else 2}"


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ("file", {1: POEM.strip()}),
        ("line", dict(zip((1, 2, 4, 5), POEM.split(), strict=True))),
        ("paragraph", {1: POEM.split("\n\n", maxsplit=1)[0], 4: POEM.split("\n\n")[1].strip()}),
    ],
)
def test_plain_text_falls_into_documents(tmp_path: Path, documents: str, expected: dict[int, str]) -> None:
    file = tmp_path / "poem.txt"
    file.write_text(POEM)
    found = everything(file, validate(Reading, {"documents": documents}))
    assert {int(document.source.rpartition(":")[2]): document.text for document in found} == expected


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "big5"])
def test_encodings_are_found(tmp_path: Path, encoding: str, end: str) -> None:
    text = "秦川雄帝宅，函谷壯皇居。" + end + "綺殿千尋起，離宮百雉餘。" + end
    file = tmp_path / "poem.txt"
    file.write_bytes(text.encode(encoding))
    faults = Faults("stop")
    assert everything(file, faults=faults)[0].text == text.strip().replace("\r\n", "\n")
    assert len(faults.encodings) == 1


def test_a_detected_encoding_is_reported_aloud(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(("今天天气很好，我们去公园散步。" * 5).encode("gb18030"))
    said: list[str] = []
    everything(tmp_path / "a.txt", faults=Faults("stop", said.append))
    assert said == [f"{tmp_path}/a.txt: not UTF-8; read as gb18030 (set read.encoding if that is wrong)"]


@pytest.mark.parametrize("text", ["café costs £5", "it cost £20, he said, and £30 on Sunday" * 20])
def test_a_lone_accent_is_western(text: str) -> None:
    assert text.encode("cp1252").decode(detect(text.encode("cp1252")) or "") == text


def test_utf8_with_a_few_broken_bytes_stays_utf8() -> None:
    assert detect(("明月光" * 20).encode() + b"\xff\xfe" + ("明月光" * 20).encode()) == "utf-8"


def test_a_broken_byte_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    good = "好好学习\n".encode()
    file.write_bytes(good * 999_999 + b"\xff\n" + good)
    with pytest.raises(ValueError, match=r"long\.txt:1000000: byte 0xff is not UTF-8 .*read\.on_error=skip"):
        list(lines(RawFile.on_disk(file), None, Faults("stop")))
    faults = Faults("skip")
    assert sum(1 for _, text in lines(RawFile.on_disk(file), None, faults) if text) == 1_000_000
    assert faults.counts == {"undecodable line": 1}


@pytest.mark.parametrize("place", [0, 1, 5])
def test_only_the_broken_line_is_lost(tmp_path: Path, place: int) -> None:
    rows = ["第一行", "第二行", "第三行", "第四行", "第五行", "第六行"]
    raw = [row.encode() for row in rows]
    raw[place] = raw[place][:4] + b"\xff\xff" + raw[place][4:]
    (tmp_path / "a.txt").write_bytes(b"\n".join(raw))
    faults = Faults("skip")
    found = list(lines(RawFile.on_disk(tmp_path / "a.txt"), None, faults))
    assert [text for _, text in found if text] == rows[:place] + rows[place + 1 :]
    assert faults.examples["undecodable line"][0].startswith(f"{tmp_path}/a.txt:{place + 1}:")
    assert [number for number, _ in found] == list(range(1, len(found) + 1))


def test_a_torn_last_character_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("好好学习".encode()[:-1])
    with pytest.raises(ValueError, match=r"a\.txt:1: .*not UTF-8"):
        everything(tmp_path / "a.txt", Reading(encoding="utf-8"))


@given(st.lists(st.sampled_from(["月", "a", "\n", "\r\n", "明月光" * 99, "x" * 500]), max_size=60))
@settings(max_examples=60, deadline=None)
def test_blocks_join_to_the_file(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    text = "ab\n" + "".join(parts)
    file = tmp_path_factory.mktemp("blocks") / "a.txt"
    file.write_bytes(text.encode())
    found = list(blocks(RawFile.on_disk(file), None, Faults("stop")))
    plain = text.replace("\r\n", "\n")
    assert "".join(block.text for block in found) == plain
    numbered = [text for _, text in lines(RawFile.on_disk(file), None, Faults("stop"))]
    assert numbered == plain.removesuffix("\n").split("\n") or numbered == plain.split("\n")


def test_a_single_line_of_50_megabytes_is_read_in_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "one.txt"
    with file.open("wb") as stream:
        for _ in range(50):
            stream.write("十万字的一行。".encode() * 47_620)
    assert file.stat().st_size > 50_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = size = 0
    for document in read(file, Reading(), Faults("stop")):
        count += 1
        size += len(document.text)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert size == 50 * 47_620 * 7
    assert count > 800
    assert grown * (1 if sys.platform == "darwin" else 1024) < 20_000_000


def test_a_json_line_of_50_megabytes_is_cut(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps({"text": "A sentence of words. " * 2_400_000}))
    documents = everything(tmp_path / "one.jsonl")
    assert len(documents) > 2_000
    assert max(len(document.text) for document in documents) <= 20_000
    assert len({document.source for document in documents}) == len(documents)


class TestCutting:
    @given(st.text(st.sampled_from("ab \n。.!月"), max_size=400), st.integers(1, 50))
    @settings(deadline=None)
    def test_pieces_join_to_the_text_and_none_is_too_long(self, text: str, longest: int) -> None:
        pieces = list(cut(text, longest))
        assert "".join(piece.text for piece in pieces) == text
        assert all(len(piece.text) <= longest for piece in pieces)
        assert all(text.startswith(piece.text, piece.start) for piece in pieces)

    def test_two_copies_are_cut_alike_after_a_passage_that_only_one_has(self) -> None:
        book = "\n".join(
            f"Line {number} of a long book about {number * 7919 % 1000} things." for number in range(3000)
        )
        ours, theirs = (
            {piece.text for piece in cut(text, 2000)} for text in (book, "A preface.\n" * 40 + book)
        )
        assert len(ours & theirs) > 0.9 * len(ours)

    def test_a_paragraph_border_is_preferred(self) -> None:
        text = "\n\n".join(["A first line.\nA second line. With two sentences."] * 20)
        assert all(piece.text.endswith("\n\n") for piece in list(cut(text, 200))[:-1])

    def test_null_keeps_documents_whole(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("word " * 50_000)
        assert len(everything(tmp_path / "a.txt", Reading(max_document_characters=None))) == 1


def written(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


NOISE = os.urandom(9000).hex().encode()
CUT_SHORT = r"a\.txt\.(gz|zst): cannot be read to its end \(.*\); mend or replace the file"
FAULTS: dict[str, tuple[str, bytes, str]] = {
    "binary": ("a.txt", b"text\0\x01\x02" * 20, r"a\.txt: holds NUL bytes, so it is not text; .*"),
    "binary later": ("a.txt", b"text\n" * 90_000 + b"\0\n", r"a\.txt:90001: holds a NUL byte; .*"),
    "empty": ("a.txt", b"", r"a\.txt: the file is empty; remove it.*"),
    "empty gzip": ("a.txt.gz", gzip.compress(b""), r"a\.txt\.gz: the file is empty.*"),
    "torn gzip": ("a.txt.gz", gzip.compress(NOISE)[:5000], CUT_SHORT),
    "torn zst": ("a.txt.zst", zstandard.compress(NOISE)[:5000], CUT_SHORT),
    "broken zst": ("a.txt.zst", b"\x28\xb5\x2f\xfd" + b"x" * 50, CUT_SHORT),
    "no text": (
        "a.jsonl",
        b'{"title": "t", "content": "long enough"}\n',
        r'a\.jsonl:1: no key "text"; found "content", "title"; set read\.text_key=content.*',
    ),
    "text is a number": ("a.jsonl", b'{"text": 5}\n', r'a\.jsonl:1: "text" is not a string'),
    "broken JSON": ("a.jsonl", b'{"text": "a"}\n\n{"text": \n', r"a\.jsonl:3: not valid JSON .*; mend"),
    "a list": ("a.jsonl", b"[1]\n", r"a\.jsonl:1: expected an object, found a list"),
    "lone surrogate": ("a.jsonl", b'{"text": "\\ud800"}\n', r"a\.jsonl:1: not valid JSON"),
    "ragged": ("a.csv", b"text,b\nx,y\nx,y,z\n", r"a\.csv:3: 3 fields, but the header has 2; "),
    "quotes": ("a.csv", b'text,b\n"x"y,z\n', r"a\.csv:2: not a table row"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_that_names_place_and_remedy(tmp_path: Path, fault: str) -> None:
    name, content, message = FAULTS[fault]
    file = written(tmp_path, name, content)
    with pytest.raises(ValueError, match=message) as caught:
        everything(file)
    assert "\n" not in str(caught.value)
    assert "read.on_error=skip" in str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_is_skipped_is_counted(tmp_path: Path, fault: str) -> None:
    name, content, _ = FAULTS[fault]
    file = written(tmp_path, name, content)
    faults = Faults("skip")
    everything(file, faults=faults)
    assert sum(faults.counts.values()) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"title,body\nx,y\n", r'a\.csv:1: no column "text" in the header; known: body, title'),
        ("a.csv", b"txt,body\nx,y\n", r"did you mean txt\?; set read\.text_key=NAME"),
        ("a.csv", b"title;text\nx;y\n", r"a\.csv:1: one column only, .*; set read\.delimiter=';'"),
        ("a.xyz", b"%PDF", r"a\.xyz: no reader for \.xyz; known: \.txt, \.jsonl, \.csv, \.tsv"),
    ],
)
def test_what_no_skipping_helps_stops(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        everything(written(tmp_path, name, content), faults=Faults("skip"))


def test_a_list_of_lines_is_joined(tmp_path: Path) -> None:
    file = written(tmp_path, "a.jsonl", '{"paragraphs": ["一行", "二行"]}'.encode())
    assert everything(file, Reading(text_key="paragraphs"))[0].text == "一行\n二行"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoding": "utf-9"}, "no encoding is called utf-9"),
        ({"delimiter": "::"}, "a delimiter is one character"),
    ],
)
def test_settings_are_checked(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate(Reading, given)


class TestSources:
    def found(self, path: Path | str, **more: object) -> list[str]:
        source = validate(Source, {"path": str(path), **more})
        (origin,) = find([source], Path("nowhere"), lambda _: None)
        return [file.name for file in origin.files]

    def test_a_folder_is_walked_in_order(self, tmp_path: Path) -> None:
        for name in ("b.txt", "a.jsonl.gz", "sub/c.csv", ".hidden.txt", "picture.png", "sub/.cache/d.txt"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("x")
        assert self.found(tmp_path) == ["a.jsonl.gz", "b.txt", "c.csv"]

    def test_a_glob_finds_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("b.txt", "a.txt", "sub/c.txt", "d.csv"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("x")
        assert self.found(tmp_path / "**/*.txt") == ["a.txt", "b.txt", "c.txt"]
        monkeypatch.chdir(tmp_path)
        assert self.found("*.txt") == ["a.txt", "b.txt"]

    def test_a_loop_of_links_ends(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("x")
        (tmp_path / "loop").symlink_to(tmp_path)
        assert self.found(tmp_path) == ["a.txt"]

    def test_linked_folders_are_not_passed_over_in_silence(self, tmp_path: Path) -> None:
        (tmp_path / "raw" / "deep").mkdir(parents=True)
        (tmp_path / "raw" / "a.txt").write_text("x")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "raw" / "deep" / "link").symlink_to(tmp_path / "elsewhere")
        said: list[str] = []
        find([Source(path=str(tmp_path / "raw"))], tmp_path / "out", said.append)
        assert said == [
            f"{tmp_path}/raw: passed over 1 linked folders, such as {tmp_path}/raw/deep/link; "
            "name them too if they are to be read"
        ]

    def test_faults(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="no such file or folder; name a file, a folder or a glob"):
            self.found(tmp_path / "absent")
        (tmp_path / "x.png").write_text("x")
        with pytest.raises(ValueError, match=r"holds no file that can be read; known: \.txt"):
            self.found(tmp_path)
        with pytest.raises(ValueError, match="no text given"):
            find([], tmp_path, lambda _: None)
        sources = [Source(path=str(tmp_path / "x.png"), name="same")] * 2
        with pytest.raises(ValueError, match="two sources are named same"):
            find(sources, tmp_path / "out", lambda _: None)

    def test_an_unreadable_folder_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "closed").mkdir()
        (tmp_path / "closed" / "a.txt").write_text("x")
        (tmp_path / "closed").chmod(0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            with pytest.raises(
                ValueError, match=r": cannot be read \(Permission denied\); give yourself access"
            ):
                self.found(tmp_path)
        finally:
            if root:
                os.seteuid(0)
            (tmp_path / "closed").chmod(0o700)


@pytest.mark.parametrize("size", [100, 300_000, 600_000])
@pytest.mark.parametrize("place", ["early", "late", "end"])
def test_a_broken_line_that_is_skipped_is_blank_however_long(tmp_path: Path, size: int, place: str) -> None:
    good = b'{"text": "a good line"}'
    body = bytearray(b'{"text": "' + b"x" * size + b'"}')
    if place == "end":
        body += "诗".encode()[:2]
    else:
        body[20 if place == "early" else -5] = 0xFF
    lines_of = [good, bytes(body)] if place == "end" else [good, bytes(body), good]
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"\n".join(lines_of))
    faults = Faults("skip")
    found = list(lines(RawFile.on_disk(file), "utf-8", faults))
    assert [text for _, text in found if text] == [good.decode()] * (len(lines_of) - 1)
    assert dict(faults.counts) == {"undecodable line": 1}
    faults = Faults("skip")
    assert len(list(read(file, Reading(encoding="utf-8"), faults))) == len(lines_of) - 1
    assert dict(faults.counts) == {"undecodable line": 1}
