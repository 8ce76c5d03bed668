"""What a corpus is like, measured on its documents: lengths, vocabulary growth, what stricter rules would drop."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rootlm.text.document import Document
from rootlm.text.steps.characters import codes, is_han, kinds_of, profile
from rootlm.text.steps.quality import compression, repeated_line_share

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_MARKS_PER_TENFOLD = 12
_LENGTH_STEPS = 8

MEASURES: dict[str, tuple[str, bool, tuple[float, ...]]] = {
    "min_characters": ("characters", False, (10, 20, 50, 100, 200, 500, 1000)),
    "min_letter_share": ("share of letters", False, (0.5, 0.6, 0.7, 0.75, 0.8, 0.85)),
    "max_sign_share": ("share of symbols", True, (0.15, 0.1, 0.05, 0.02, 0.01)),
    "max_repeated_line_share": ("share in repeated lines", True, (0.3, 0.2, 0.1, 0.05, 0.01)),
    "max_compression": ("times smaller when packed", True, (8, 6, 5, 4, 3)),
}
"""Setting of `quality` → what it limits, whether from above, and thresholds to try."""


@dataclass
class Growth:
    """How many different words there are among the first n, and how often each is said."""

    counts: Counter[str] = field(default_factory=Counter)
    words: int = 0
    marks: list[tuple[float, float]] = field(default_factory=list)

    def add(self, words: Sequence[str]) -> None:
        """Count the next words."""
        for word in words:
            self.counts[word] += 1
            self.words += 1
            if self.words >= self._following():
                self.marks.append((self.words, len(self.counts)))

    def heaps(self) -> float | None:
        """Return β of Heaps' law, V = K n^β, by least squares over the marks (Heaps 1978)."""
        points = [(math.log(n), math.log(v)) for n, v in self.marks if n >= 100]
        return _slope(points)

    def zipf(self) -> list[tuple[float, float]]:
        """Return (rank, count) at ranks that are evenly spread in their logarithm (Zipf 1949)."""
        ordered = [count for _, count in self.counts.most_common()]
        ranks = sorted({round(10 ** (step / _MARKS_PER_TENFOLD)) for step in range(8 * _MARKS_PER_TENFOLD)})
        return [(rank, ordered[rank - 1]) for rank in ranks if rank <= len(ordered)]

    def _following(self) -> float:
        return self.marks[-1][0] * 10 ** (1 / _MARKS_PER_TENFOLD) if self.marks else 10.0


@dataclass
class Measured:
    """The measures of some documents."""

    documents: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    """Documents by ⌊8 · log₂ characters⌋."""
    longest: int = 0
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})
    growth: dict[str, Growth] = field(default_factory=dict)
    """Words of spaced languages and Han characters, each for itself."""

    def dropped(self, name: str, threshold: float) -> float:
        """Return the share of the documents that a threshold would drop."""
        _, is_most, _ = MEASURES[name]
        bad = sum(value > threshold if is_most else value < threshold for value in self.values[name])
        return bad / max(len(self.values[name]), 1)

    def length_curve(self) -> list[tuple[float, float]]:
        """Return (characters, documents in that eighth of a doubling)."""
        if not self.lengths:
            return []
        steps = range(min(self.lengths), max(self.lengths) + 1)
        return [(2 ** ((step + 0.5) / _LENGTH_STEPS), float(self.lengths[step])) for step in steps]


def measure(documents: Iterable[Document], most_characters: int) -> Measured:
    """Measure documents until so many characters were read."""
    found = Measured(growth={"words": Growth(), "Han characters": Growth()})
    read = 0
    for document in documents:
        text = document.text
        counts = profile(text)
        visible = max(counts.visible, 1)
        found.documents += 1
        found.longest = max(found.longest, len(text))
        found.lengths[int(_LENGTH_STEPS * math.log2(max(len(text), 1)))] += 1
        values = {
            "min_characters": counts.visible,
            "min_letter_share": counts.letters / visible,
            "max_sign_share": (counts.sign + counts.other) / visible,
            "max_repeated_line_share": repeated_line_share(text),
            "max_compression": compression(text),
        }
        for name, value in values.items():
            found.values[name].append(float(value))
        spaced, han = _words(text)
        found.growth["words"].add(spaced)
        found.growth["Han characters"].add(han)
        read += len(text)
        if read >= most_characters:
            break
    return found


def _words(text: str) -> tuple[list[str], list[str]]:
    """Return the words between spaces, in lower case, and the Han characters."""
    spaced: list[str] = []
    han: list[str] = []
    for run in _WORD.findall(text):
        mask = is_han(kinds_of(codes(run)))
        if mask.any():
            han += [character for character, hit in zip(run, mask.tolist(), strict=True) if hit]
        else:
            spaced.append(run.lower())
    return spaced, han


def _slope(points: Sequence[tuple[float, float]]) -> float | None:
    if len(points) < 3:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
