"""Augmentation: more training text from the text there is, by small seeded changes to words.

After Wei and Zou 2019, "EDA: Easy Data Augmentation Techniques for Boosting Performance on Text Classification
Tasks" (dropout, swap, insertion, replacement; a tenth of the words), with homophones for Chinese and
back-translation (Sennrich et al. 2016) by a translator that is handed in.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from rootlm.core.config import Config
from rootlm.text.augmentation.homophones import alike, is_common_han, is_simplified, readings
from rootlm.text.augmentation.word_changes import Sentence
from rootlm.text.raw.faults import Faults
from rootlm.text.signature import digest
from rootlm.text.words.segment import Segment, word_lines

Rate = Annotated[float, Field(gt=0, lt=1)]
Augmenter = Callable[[str, int], str]
"""A text and a number (of the copy, or of the epoch) → a changed text; the same two, the same change."""
Neighbours = Callable[[str], Sequence[str]]
"""A word → words near it, best first; none where it has none."""
Translate = Callable[[str], str]
"""A text → the text there and back again."""
Change = Callable[[Sentence, random.Random], None]


class Hooks(NamedTuple):
    """What a configuration cannot hold."""

    neighbours: Neighbours | None = None
    translate: Translate | None = None


NO_HOOKS = Hooks()


class Dropout(Config):
    """Leave words out."""

    kind: Literal["dropout"] = "dropout"
    rate: Rate = 0.1
    """Probability of a word."""
    seed: int = 0
    """Another seed, other words."""

    def build(self, hooks: Hooks = NO_HOOKS) -> Augmenter:
        """Return the augmenter; one word always stays."""

        def change(sentence: Sentence, generator: random.Random) -> None:
            drawn = [place for place in sentence.places if generator.random() < self.rate]
            sentence.drop(drawn[: len(sentence.places) - 1])

        return _by_words(self, change)


class Swap(Config):
    """Exchange words."""

    kind: Literal["swap"] = "swap"
    rate: Rate = 0.1
    """Probability that a word is exchanged with another."""
    reach: Annotated[int, Field(gt=0)] | None = 3
    """The other is at most so many words away; null: anywhere in the document."""
    seed: int = 0
    """Another seed, other words."""

    def build(self, hooks: Hooks = NO_HOOKS) -> Augmenter:
        """Return the augmenter."""

        def change(sentence: Sentence, generator: random.Random) -> None:
            places = sentence.places
            for index in range(len(places)):
                # A swap moves two words.
                if generator.random() >= self.rate / 2:
                    continue
                reach = self.reach or len(places)
                others = [*range(max(index - reach, 0), index), *range(index + 1, index + 1 + reach)]
                others = [other for other in others if other < len(places)]
                if others:
                    sentence.swap(places[index], places[generator.choice(others)])

        return _by_words(self, change)


class Synonyms(Config):
    """Replace words by others of the same meaning, or insert these anywhere."""

    kind: Literal["synonyms"] = "synonyms"
    table: str
    """A text file, `WORD<TAB>OTHER OTHER…` on each line."""
    action: Literal["replace", "insert"] = "replace"
    """Put the other word in the word's place, or at a random place beside it."""
    rate: Rate = 0.1
    """Probability of a word; words that the table does not hold stay."""
    seed: int = 0
    """Another seed, other words."""

    def build(self, hooks: Hooks = NO_HOOKS) -> Augmenter:
        """Return the augmenter; raises ValueError naming file and line for a broken table."""
        table = read_table(Path(self.table), Faults("stop"))
        return _by_words(self, _by_neighbours(partial(_looked_up, table), self.action, self.rate))


class Embedding(Config):
    """Replace words by their neighbours in an embedding, or insert these anywhere."""

    kind: Literal["embedding"] = "embedding"
    action: Literal["replace", "insert"] = "replace"
    """Put the neighbour in the word's place, or at a random place."""
    nearest: Annotated[int, Field(gt=0)] = 5
    """How many of the nearest are drawn from."""
    rate: Rate = 0.1
    """Probability of a word; words without neighbours stay."""
    seed: int = 0
    """Another seed, other words."""

    def build(self, hooks: Hooks = NO_HOOKS) -> Augmenter:
        """Return the augmenter; it asks `hooks.neighbours`."""
        neighbours = hooks.neighbours
        if neighbours is None:
            raise ValueError(
                "augment: kind embedding needs neighbours; hand in Hooks(neighbours=…), "
                "or write them to a file and set kind: synonyms, table: FILE"
            )
        near = neighbours
        return _by_words(
            self, _by_neighbours(lambda word: near(word)[: self.nearest], self.action, self.rate)
        )


class Homophones(Config):
    """Replace Chinese characters by common ones that sound alike, as people mistype them."""

    kind: Literal["homophones"] = "homophones"
    tones: bool = True
    """Whether the tone must be the same too."""
    rate: Rate = 0.05
    """Probability of a character; those that nothing sounds like stay."""
    seed: int = 0
    """Another seed, other characters."""

    def build(self, hooks: Hooks = NO_HOOKS) -> Augmenter:
        """Return the augmenter; raises ValueError when the library is not installed."""
        readings("一", self.tones)

        def change(sentence: Sentence, generator: random.Random) -> None:
            simplified = is_simplified(str(sentence))
            for place in sentence.places:
                word = sentence.text_at(place)
                han = [spot for spot, character in enumerate(word) if is_common_han(character)]
                drawn = [spot for spot in han if generator.random() < self.rate]
                if drawn:
                    sentence.replace(place, self._changed(word, drawn, simplified, generator))

        return _by_words(self, change)

    def _changed(self, word: str, spots: Iterable[int], simplified: bool, generator: random.Random) -> str:
        sounds, characters = readings(word, self.tones), list(word)
        if len(sounds) != len(characters):
            return word
        for spot in spots:
            if others := alike(word[spot], sounds[spot], self.tones, simplified):
                characters[spot] = generator.choice(others)
        return "".join(characters)


class BackTranslation(Config):
    """Replace a document by its translation into another language and back."""

    kind: Literal["back_translation"] = "back_translation"
    rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Probability of a document."""
    seed: int = 0
    """Another seed, other documents."""

    def build(self, hooks: Hooks = NO_HOOKS) -> Augmenter:
        """Return the augmenter; it asks `hooks.translate`."""
        translate = hooks.translate
        if translate is None:
            raise ValueError("augment: kind back_translation needs a translator; hand in Hooks(translate=…)")
        there_and_back = translate

        def augment(text: str, number: int) -> str:
            return there_and_back(text) if generator_of(self, text, number).random() < self.rate else text

        return augment


Kind = Annotated[
    Dropout | Swap | Synonyms | Embedding | Homophones | BackTranslation, Field(discriminator="kind")
]


def generator_of(settings: Config, text: str, number: int) -> random.Random:
    """Return the generator of one change: it follows from the settings' kind and seed, the text and a number."""
    key = f"{settings.model_dump()['kind']} {settings.model_dump()['seed']} {number} ".encode()
    return random.Random(hashlib.blake2b(key + digest(text), digest_size=16).digest())


def read_table(file: Path, faults: Faults) -> Mapping[str, tuple[str, ...]]:
    """Read `WORD<TAB>OTHER OTHER…`; a line that is not like that goes to the faults with the reason."""
    table: dict[str, tuple[str, ...]] = {}
    for number, line in word_lines(file, faults):
        word, _, others = (part.strip() for part in line.partition("\t"))
        known = tuple(other for other in dict.fromkeys(others.split()) if other != word)
        problem = None
        if not line.count("\t"):
            problem = "holds no tab between the word and the others"
        elif not known:
            problem = "names no other word"
        elif word in table:
            problem = f"{word!r} has a line already"
        if problem:
            faults.report(
                f"{file}:{number}", "rejected line", f"{line!r} {problem}", "write WORD<TAB>OTHER OTHER…"
            )
            continue
        table[word] = known
    return table


def _looked_up(table: Mapping[str, tuple[str, ...]], word: str) -> Sequence[str]:
    """Return the others of a word; a capital at its beginning is theirs too."""
    if word in table or not word[:1].isupper():
        return table.get(word, ())
    return [other[:1].upper() + other[1:] for other in table.get(word[:1].lower() + word[1:], ())]


def _by_words(settings: Config, change: Change) -> Augmenter:
    """Return the augmenter that cuts a text into words, changes these and joins them again."""
    segmenter = Segment().build()

    def augment(text: str, number: int) -> str:
        sentence = Sentence(segmenter.pieces(text))
        change(sentence, generator_of(settings, text, number))
        return str(sentence)

    return augment


def _by_neighbours(neighbours: Neighbours, action: str, rate: float) -> Change:
    def change(sentence: Sentence, generator: random.Random) -> None:
        places = sentence.places
        for place in places:
            if generator.random() >= rate or not (others := neighbours(sentence.text_at(place))):
                continue
            other = generator.choice(others)
            if action == "replace":
                sentence.replace(place, other)
            else:
                sentence.insert(generator.choice(places), other)

    return change
