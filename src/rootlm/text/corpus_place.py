"""The folder that a corpus is made in: held by one process, cleared of what killed ones left."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from rootlm.core.files import MANIFEST, locked


@contextlib.contextmanager
def reserved(folder: Path) -> Iterator[None]:
    """Hold the folder for this process, clear what killed ones left, and leave no empty folder behind."""
    with locked(folder):
        try:
            own = re.compile(rf"\.{re.escape(folder.name)}\.\d+\.partial")
            for left in folder.parent.iterdir():
                if own.fullmatch(left.name):
                    shutil.rmtree(left)
            yield
        except BaseException:
            if folder.is_dir() and [file.name for file in folder.iterdir()] == [".lock"]:
                shutil.rmtree(folder)
            raise


def bring_back(folder: Path) -> None:
    """Give a corpus its name back that a process had set aside to replace it, and was killed before it did."""
    if folder.exists() or not folder.parent.is_dir():
        return
    aside = re.compile(rf"\.{re.escape(folder.name)}\.\d+\.old")
    for left in folder.parent.iterdir():
        if aside.fullmatch(left.name) and (left / MANIFEST).is_file():
            left.rename(folder)
            return


def clear(folder: Path) -> None:
    """Remove what an interrupted preparation has left beside a corpus that needs it no more."""
    work = folder.with_name(f".{folder.name}.work")
    if work.exists():
        with locked(folder):
            shutil.rmtree(work)
            (folder / ".lock").unlink()
