"""Files that are whole or absent: atomic writes, checksums, space asked for before it is needed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson

MANIFEST = "manifest.json"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that at any instant the old or the new content is there, never a part of it."""
    with new_file(path) as stream:
        stream.write(content)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a stream whose content takes the name `path` when the block ends without an error."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    _sync_folder(path.parent)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, content.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented, with sorted keys and Chinese left readable."""
    write_bytes(path, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; raises ValueError naming the file when it is absent or torn."""
    try:
        return orjson.loads(path.read_bytes())
    except OSError as error:
        hint = "; give yourself the right to read it" if isinstance(error, PermissionError) else ""
        raise ValueError(f"{path}: cannot be read ({error.strerror}{hint})") from error
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); the file is torn or was edited") from error


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its name when the block ends without an error.

    An existing folder at `path` is replaced only then. The contents are synced and listed with their
    checksums in `manifest.json`, which `verify_folder` reads.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    held = contextlib.ExitStack()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(path)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        held.enter_context(_holding(partial))
        yield partial
        files = sorted(file for file in partial.rglob("*") if file.is_file() and file.name != MANIFEST)
        sums = {str(file.relative_to(partial)): sha256(file) for file in files}
        for file in files:
            _sync(file)
        known = read_json(partial / MANIFEST) if (partial / MANIFEST).exists() else {}
        write_json(partial / MANIFEST, {**known, "sha256": sums})
        if path.exists():
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.rename(old)
            partial.rename(path)
            shutil.rmtree(old)
        else:
            partial.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        held.close()
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def _holding(folder: Path) -> Iterator[None]:
    """Hold a folder as long as this process lives; raises OSError where another one does."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _remove_left(path: Path) -> None:
    """Remove what processes that were killed have left of a folder with this name."""
    for partial in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        if not partial.name.removeprefix(f".{path.name}.").removesuffix(".partial").isdecimal():
            continue  # of a longer name that begins like this one
        with contextlib.suppress(OSError), _holding(partial):
            shutil.rmtree(partial)


def verify_folder(path: Path) -> None:
    """Compare every file with the checksums in the folder's manifest; raises ValueError naming the bad file."""
    sums = read_json(path / MANIFEST).get("sha256", {})
    if not sums:
        raise ValueError(f"{path / MANIFEST}: holds no checksums; the folder was not written by rootlm")
    for name, expected in sums.items():
        file = path / name
        if not file.is_file():
            raise ValueError(f"{file}: missing, but listed in {path / MANIFEST}")
        if sha256(file) != expected:
            raise ValueError(
                f"{file}: checksum differs from {path / MANIFEST}; the file is torn or was edited"
            )


def free_bytes(path: Path) -> int:
    """Return the bytes free on the disk that holds `path`, which need not exist yet."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def require_space(path: Path, needed_bytes: int) -> None:
    """Raise ValueError when the disk of `path` has less than `needed_bytes` free."""
    free = free_bytes(path)
    if free < needed_bytes:
        unit, size = ("MB", 1e6) if needed_bytes >= 1e6 else ("kB", 1e3)
        raise ValueError(
            f"{path}: needs {needed_bytes / size:,.0f} {unit} and the disk has {free / size:,.0f} {unit} free; "
            "free some space or choose another folder"
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; raises ValueError when another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("w")
    except OSError as error:
        raise explain(error, folder) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{folder}: another process is writing here; wait for it or choose another folder"
            ) from None
        yield


def explain(error: OSError, path: Path) -> ValueError | OSError:
    """Return an error in a person's words for a full disk or an impossible path, else the error itself."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ValueError(
            f"{path}: the disk is full; nothing that was finished is lost. Free space and run again"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ValueError(f"{path}: not permitted ({error.strerror}); choose a folder you may write to")
    if error.errno == errno.EFBIG:
        return ValueError(
            f"{path}: larger than a file may be here; nothing that was finished is lost. Raise ulimit -f"
        )
    if error.errno == errno.ENOENT:
        return ValueError(f"{path}: vanished while it was in use; leave the folder alone and run again")
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
        return ValueError(f"{path}: cannot be made ({error.strerror}); choose another folder")
    return error


def _sync(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
