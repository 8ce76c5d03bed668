"""An n-gram model to read: dictionaries from n-grams to numbers, and the formulas as they stand in the papers."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

Gram = tuple[int, ...]


def grams(tables) -> list[Gram]:
    """Return the n-gram of each node of a model's tables."""
    found: list[Gram] = [(word,) for word in range(int(tables.sizes[0]))]
    for parent in range(tables.below):
        for node in range(int(tables.starts[parent]), int(tables.starts[parent + 1])):
            assert node == len(found)
            found.append((int(tables.words[node]), *found[parent]))
    return found


class Backing:
    """ln p by the recursion that backing off is: known, or the context's weight and a shorter context."""

    def __init__(self, tables) -> None:
        known = grams(tables)
        self.order = tables.order
        self.logps = dict(zip(known, tables.logps.astype(float).tolist(), strict=True))
        self.backoffs = dict(zip(known[: tables.below], tables.backoffs.astype(float).tolist(), strict=True))

    def logp(self, context: Gram, word: int) -> float:
        context = context[max(0, len(context) - self.order + 1) :]
        if (*context, word) in self.logps:
            return self.logps[*context, word]
        return self.backoffs.get(context, 0.0) + self.logp(context[1:], word)

    def nats(self, ids: Gram) -> list[float]:
        """Return −ln p of each id but the first."""
        return [-self.logp(ids[:place], ids[place]) for place in range(1, len(ids))]


def modified_kneser_ney(documents: list[Gram], order: int, predicted: int, discounts) -> dict[Gram, float]:
    """Return ln p of every n-gram of documents that begin and end in marks (Chen and Goodman 1998, section 3.3)."""
    occurs: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
    for words in documents:
        for end in range(2, len(words) + 1):
            for length in range(1, min(order, end) + 1):
                occurs[length][words[end - length : end]] += 1
    begin = documents[0][0]
    logps: dict[Gram, float] = {}
    for length in range(1, order + 1):
        counts: dict[Gram, float] = dict(occurs[length])
        if length < order:
            before = Counter(gram[1:] for gram in occurs[length + 1])
            counts = {gram: occurs[length][gram] if gram[0] == begin else before[gram] for gram in counts}
        after: dict[Gram, list[float]] = defaultdict(list)
        for gram, count in counts.items():
            after[gram[:-1]].append(count)
        for gram, count in counts.items():
            taken = [discounts[min(int(one), 3) - 1] for one in after[gram[:-1]]]
            lower = math.exp(logps[gram[1:]]) if length > 1 else 1 / predicted
            kept = count - discounts[min(int(count), 3) - 1]
            logps[gram] = math.log((kept + sum(taken) * lower) / sum(after[gram[:-1]]))
    return logps
