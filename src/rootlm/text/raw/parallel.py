"""Parallel text: a document of two lines that say the same, the first in one language, the second in another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest

from rootlm.text.document import Document
from rootlm.text.raw.faults import Faults
from rootlm.text.raw.lines import lines
from rootlm.text.raw.rawfile import RawFile

PAIR = "pair"
"""The key of meta that names the two sides."""
Names = tuple[str, str]


def pair_of(
    sides: tuple[object, object], names: Names, place: str, meta: Mapping[str, object], faults: Faults
) -> Iterator[Document]:
    """Yield two texts as one document; line ends within a side become spaces. A side without text is a fault."""
    for name, side in zip(names, sides, strict=True):
        if not isinstance(side, str) or not side.strip():
            problem = f'"{name}" has no text' if isinstance(side, str) else f'"{name}" is not a string'
            faults.report(place, f"no {name}", problem, "give both sides a text")
            return
    text = "\n".join(" ".join(str(side).split("\n")).strip() for side in sides)
    yield Document(text, place, {**meta, PAIR: list(names)})


def still_a_pair(document: Document) -> str | None:
    """Return why a document that was read as a pair is none any more; None keeps."""
    if PAIR not in document.meta:
        return None
    sides = document.text.split("\n")
    return None if len(sides) == 2 and all(side.strip() for side in sides) else "no longer two lines of text"


def names_of(document: Document) -> Names:
    """Return what the two sides are called; raises ValueError for a document that is no pair."""
    names = document.meta.get(PAIR)
    if not isinstance(names, list) or len(names) != 2:
        raise ValueError(
            f"{document.source}: is no pair of texts; prepare the corpus from pairs, with read.pair=[zh,en] "
            "or a source's target"
        )
    return str(names[0]), str(names[1])


def sides_of(document: Document) -> dict[str, str]:
    """Return the two sides by name; raises ValueError for a document that is no pair, or no longer one.

    >>> sides_of(Document("月\\nmoon", "a:1", {"pair": ["zh", "en"]}))
    {'zh': '月', 'en': 'moon'}
    """
    names, sides = names_of(document), document.text.split("\n")
    if len(sides) != 2 or not all(side.strip() for side in sides):
        raise ValueError(
            f"{document.source}: is no longer two lines of text; leave out the step that changed its lines"
        )
    return dict(zip(names, sides, strict=True))


def texts_of(document: Document) -> list[str]:
    """Return what is read by itself: the text of a document, or each side of a pair."""
    return list(sides_of(document).values()) if PAIR in document.meta else [document.text]


def read_aligned(
    first: RawFile, second: RawFile, names: Names, encoding: str | None, faults: Faults
) -> Iterator[Document]:
    """Yield line n of one file with line n of the other; lines blank on both sides are passed over.

    Raises ValueError naming the first line without a partner when one file is longer.
    """
    files, last = (first, second), 0
    for sides in zip_longest(*(lines(file, encoding, faults) for file in files)):
        for longer, shorter, line in zip(files, files[::-1], sides, strict=True):
            if line is not None and None in sides:
                raise ValueError(
                    f"{longer.place}:{line[0]}: has no partner, {shorter.place} ends with line {last}; "
                    "give two files with as many lines"
                )
        (last, one), (_, other) = sides
        # A line that could not be read is empty here, and then its partner is left out too.
        if one.strip() or other.strip():
            yield from pair_of((one, other), names, f"{first.place}:{last}", {}, faults)
