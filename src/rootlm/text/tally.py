"""The account of a preparation: what each step read, changed, kept and dropped, with examples."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rootlm.text.document import Document
from rootlm.text.signature import digest

EXAMPLES = 20
EXCERPT_CHARACTERS = 500

Example = dict[str, Any]


@dataclass
class Tally:
    """Counts that can be added up over parts of a corpus, in any order, with the same result."""

    read: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    personal: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(kind, language) → how much personal data was replaced; never what it was."""
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(step, reason) → documents."""
    samples: dict[tuple[str, str], list[tuple[bytes, Example]]] = field(default_factory=dict)
    """(step, reason) → the documents with the smallest digests: a sample that does not depend on order."""

    def drop(self, document: Document, step: str, reason: str) -> None:
        """Count a document that goes no further, and remember it as an example of its reason."""
        self.count(step, reason, 1)
        self.example(step, reason, document)

    def count(self, step: str, reason: str, documents: int) -> None:
        """Count documents that go no further."""
        if documents:
            self.dropped[step, reason] += documents

    def example(self, step: str, reason: str, document: Document, **more: str) -> None:
        """Remember a document as an example of a reason; the digest decides which ones stay."""
        text = document.text[:EXCERPT_CHARACTERS]
        self._sample(
            (step, reason), digest(document.source + text), {"source": document.source, "text": text, **more}
        )

    def fault(self, reason: str, count: int, examples: Sequence[str]) -> None:
        """Count what a reader left out, with the places."""
        self.read += count
        self.count("read", reason, count)
        for place in examples:
            self._sample(("read", reason), digest(place), {"source": place, "text": ""})

    def add(self, other: Tally) -> None:
        """Add the counts and samples of another part."""
        self.read += other.read
        self.changed += other.changed
        self.personal += other.personal
        self.dropped += other.dropped
        for where, samples in other.samples.items():
            for key, example in samples:
                self._sample(where, key, example)

    def personal_data(self) -> dict[str, dict[str, int]]:
        """Return how much personal data was replaced: kind → language → count."""
        found: dict[str, dict[str, int]] = {}
        for (kind, language), count in sorted(self.personal.items()):
            found.setdefault(kind, {})[language] = count
        return found

    def steps(self, names: list[str]) -> list[dict[str, Any]]:
        """Return read, changed, kept and dropped of every step, in the order of `names`."""
        rows: list[dict[str, Any]] = []
        remaining = self.read
        for name in names:
            dropped = {
                reason: count for (step, reason), count in sorted(self.dropped.items()) if step == name
            }
            row = {"step": name, "read": remaining, "changed": self.changed[name], "dropped": dropped}
            remaining -= sum(dropped.values())
            rows.append({**row, "kept": remaining})
        return rows

    def examples(self) -> list[Mapping[str, Any]]:
        """Return the sampled drops, sorted by step and reason."""
        return [
            {"step": step, "reason": reason, **example}
            for (step, reason), samples in sorted(self.samples.items())
            for _, example in heapq.nsmallest(EXAMPLES, samples, key=lambda sample: sample[0])
        ]

    def to_plain(self) -> dict[str, Any]:
        """Return the tally as JSON-ready data."""
        return {
            "read": self.read,
            "changed": dict(self.changed),
            "personal": [[*where, count] for where, count in self.personal.items()],
            "dropped": [[*where, count] for where, count in self.dropped.items()],
            "samples": [
                [*where, key.hex(), example] for where, kept in self.samples.items() for key, example in kept
            ],
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Tally:
        """Return the tally that `to_plain` wrote down."""
        tally = cls(data["read"], Counter(data["changed"]))
        for kind, language, count in data["personal"]:
            tally.personal[kind, language] = count
        for step, reason, count in data["dropped"]:
            tally.dropped[step, reason] = count
        for step, reason, key, example in data["samples"]:
            tally.samples.setdefault((step, reason), []).append((bytes.fromhex(key), example))
        return tally

    def _sample(self, where: tuple[str, str], key: bytes, example: Example) -> None:
        samples = self.samples.setdefault(where, [])
        samples.append((key, example))
        if len(samples) >= 2 * EXAMPLES:
            samples[:] = heapq.nsmallest(EXAMPLES, samples, key=lambda sample: sample[0])
