"""XML as a stream of events, safe to read from strangers: no entities, nothing fetched, bounded depth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, NamedTuple
from xml.parsers import expat

from rootlm.text.readers.package import BrokenPackage

_BLOCK = 1 << 16
_DEEPEST = 1_000


class Event(NamedTuple):
    """The start (`+`) or end (`-`) of an element, or text (` `) between; names are without namespaces."""

    kind: str
    name: str
    attributes: Mapping[str, str] = {}


def events(stream: IO[bytes], part: str) -> Iterator[Event]:
    """Yield the events of an XML file; raises `BrokenPackage` for one that is broken or declares entities.

    An entity is how a kilobyte becomes a gigabyte, and how a document reads other files; no book and no
    letter needs one.
    """
    found: list[Event] = []
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise BrokenPackage("damaged file", f"{part} nests without end", "leave it out")
        found.append(Event("+", _local(name), {_local(key): value for key, value in attributes.items()}))

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        found.append(Event("-", _local(name)))

    def refuse(name: str, *_: object) -> None:
        raise BrokenPackage("hostile XML", f"{part} declares the entity {name}", "leave it out")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: found.append(Event(" ", text))
    parser.EntityDeclHandler = refuse
    last = False
    while not last:
        block = stream.read(_BLOCK)
        last = not block
        try:
            parser.Parse(block, last)
        except expat.ExpatError as error:
            remedy = "mend or replace the file"
            raise BrokenPackage("damaged file", f"{part} is not well-formed XML ({error})", remedy) from error
        yield from found
        found.clear()


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
