"""Packages of other people's data: how each is fetched, and how its members are read without unpacking."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_CLIENTS = {
    "pip": [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"],
    "npm": ["npm", "pack", "--silent", "--ignore-scripts"],
    "apt": ["apt-get", "download"],
}


@dataclass(frozen=True)
class Package:
    """One file of a registry, by name, version and SHA-256."""

    client: Literal["pip", "npm", "apt"]
    name: str
    version: str
    file: str
    sha256: str

    @property
    def command(self) -> list[str]:
        """The client's words; pip takes name and checksum from a file."""
        words = _CLIENTS[self.client]
        if self.client == "npm":
            return [*words, f"{self.name}@{self.version}"]
        if self.client == "apt":
            return [*words, f"{self.name}={self.version}"]
        kind = ["--only-binary", ":all:"] if self.file.endswith(".whl") else ["--no-binary", ":all:"]
        return [*words, *kind]


class Archive:
    """The regular files of a .tgz, .whl, .zip or .deb, read in memory: no path can escape to the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members = dict(_members(path))

    def names(self, prefix: str = "", suffix: str = "") -> list[str]:
        """Return the members' names, sorted, that start and end so."""
        return sorted(name for name in self._members if name.startswith(prefix) and name.endswith(suffix))

    def read(self, name: str) -> bytes:
        """Return one member; raises ValueError naming archive and member when it is not there."""
        if name not in self._members:
            raise ValueError(f"{self.path}: holds no {name}; the package is not what it was")
        return self._members[name]

    def text(self, name: str) -> str:
        """Return one member as UTF-8."""
        return self.read(name).decode("utf-8")


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    yield info.filename, archive.read(info)
        return
    source = io.BytesIO(_debian_data(path)) if path.suffix == ".deb" else path.open("rb")
    with source, tarfile.open(fileobj=source) as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None:
                name = member.name.removeprefix("./")
                yield name.partition("/")[2] if path.suffix != ".deb" else name, stream.read()


def _debian_data(path: Path) -> bytes:
    """Return the data tarball of a .deb: an `ar` archive of 60-byte headers and even-sized bodies."""
    content = path.read_bytes()
    if not content.startswith(b"!<arch>\n"):
        raise ValueError(f"{path}: is not a Debian package")
    at = 8
    while at < len(content):
        name = content[at : at + 16].decode("ascii").strip().rstrip("/")
        size = int(content[at + 48 : at + 58])
        if name.startswith("data.tar"):
            return content[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise ValueError(f"{path}: holds no data.tar")
