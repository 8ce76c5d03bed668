"""What flows through the text room: documents, the steps that change them, the rules that drop them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Document:
    """One text with its origin; `source` is `path:line`, good enough to find it again."""

    text: str
    source: str
    meta: Mapping[str, object] = field(default_factory=dict)


Step = Callable[[Iterable[Document]], Iterable[Document]]
"""A stream in, a stream out; never a list in memory."""

Rewrite = Callable[[str], str]
"""A better text; rewriting twice equals rewriting once."""

Rule = Callable[[Document], str | None]
"""None keeps; a string is the reason why the document was dropped."""

Label = Callable[[Document], Mapping[str, object]]
"""What is learned about a document and written into its meta."""
