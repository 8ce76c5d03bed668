"""Words that stand together are joined: as the formulas say, as gensim does, from memory and from disk alike."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from rootlm.cli.main import run
from rootlm.models.word_vectors import WordVectors
from rootlm.tokenizers.counted_words import CountedWords, count_words, pieces_of
from rootlm.tokenizers.phrases import Phrases


def sentences(lines: int = 400, seed: int = 0) -> list[list[str]]:
    """Write lines in which some words stand together often, some words are rare, and some pairs overlap."""
    chance = random.Random(seed)
    common = [f"w{number}" for number in range(30)]
    together = [
        ["new", "york", "times"],
        ["san", "juan"],
        ["a", "a", "a"],
        ["纽约", "时报"],
        ["new", "san", "juan"],
    ]
    written = []
    for _ in range(lines):
        line: list[str] = []
        for _ in range(chance.randrange(1, 9)):
            line += chance.choice(together) if chance.random() < 0.3 else [chance.choice(common)]
            line += [f"rare{chance.randrange(2000)}"] if chance.random() < 0.1 else []
        written.append(line)
    return written


LINES = sentences()
TEXT = "".join(" ".join(line) + "\n" for line in LINES).encode()


def joined(counted: CountedWords) -> list[list[str]]:
    """Return the text that was counted, as lines of words."""
    words = [counted.words[token] for token in counted.tokens]
    return [words[begin:end] for begin, end in pairwise(counted.borders.tolist())]


def plainly(lines: list[list[str]], settings: Phrases) -> list[list[str]]:
    """Join the words of lines by the formulas."""
    single = Counter(word for line in lines for word in line)
    double = Counter(pair for line in lines for pair in pairwise(line))
    total = single.total()

    def score(pair: tuple[str, str]) -> float:
        times, alone = double[pair], single[pair[0]] * single[pair[1]]
        if settings.score == "word2vec":
            return (times - settings.min_count) * total / alone
        return math.log(times / total / (alone / total**2)) / -math.log(times / total)

    good = {pair for pair in double if double[pair] >= settings.min_count and score(pair) > settings.above}
    written = []
    for line in lines:
        left, rest = [], list(line)
        while rest:
            first = rest.pop(0)
            left.append(f"{first}_{rest.pop(0)}" if rest and (first, rest[0]) in good else first)
        written.append(left)
    return written


@pytest.mark.parametrize("passes", [1, 2, 3])
@pytest.mark.parametrize(
    ("score", "threshold"), [("npmi", None), ("npmi", 0.2), ("word2vec", 20.0), ("word2vec", 5.0)]
)
def test_words_are_joined_as_the_formulas_say(score: str, threshold: float | None, passes: int) -> None:
    settings = Phrases(passes=passes, score=score, threshold=threshold, min_count=4)
    expected = LINES
    for _ in range(passes):
        expected = plainly(expected, settings)
    assert expected != LINES
    for memory in (1 << 30, 1):
        counted = count_words([TEXT], min_count=1, phrases=settings, memory_bytes=memory)
        assert joined(counted) == expected
        assert counted.read == sum(map(len, LINES))
        counts = Counter(word for line in expected for word in line)
        assert dict(zip(counted.words, counted.counts.tolist(), strict=True)) == counts
        made = {word for word in counts if "_" in word}
        assert set(counted.phrases) == made
        assert [counts[phrase] for phrase in counted.phrases] == sorted(
            (counts[word] for word in made), reverse=True
        )


def test_words_are_joined_as_gensim_joins_them() -> None:
    from gensim.models.phrases import Phrases as Theirs

    theirs = Theirs(LINES, min_count=4, threshold=0.3, scoring="npmi")
    ours = count_words([TEXT], min_count=1, phrases=Phrases(passes=1, threshold=0.3, min_count=4))
    assert joined(ours) == [theirs[line] for line in LINES]


def test_pieces_and_rare_words_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(TEXT)
    settings = Phrases(passes=2, min_count=4)
    whole = count_words([TEXT], min_count=1, phrases=settings)
    parts = count_words(pieces_of(file, 700), min_count=1, threads=2, phrases=settings)
    assert parts.words == whole.words and joined(parts) == joined(whole)
    # A rare word between two others parts them, though it is left out.
    apart = count_words([b"x z%d y\n" % number for number in range(9)], min_count=9, phrases=settings)
    assert joined(apart) == [["x", "y"]] * 9


def test_a_phrase_that_the_text_has_as_a_word_is_that_word() -> None:
    counted = count_words(
        [b"q w\nnew york w\n" * 9 + b"new_york w q\n" * 3], min_count=1, phrases=Phrases(passes=1)
    )
    assert dict(zip(counted.words, counted.counts.tolist(), strict=True))["new_york"] == 12
    assert len(counted.words) == len(set(counted.words))


def test_a_text_of_one_pair_has_a_phrase() -> None:
    counted = count_words([b"san juan\n" * 20], min_count=1, phrases=Phrases(passes=1))
    assert counted.words == ["san_juan"]


def test_phrases_are_trained_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "text.txt", tmp_path / "run"
    file.write_bytes(TEXT)
    train = ["vectors", "train", str(file), f"out={out}", "epochs=1", "size=8", "text.phrases.passes=2"]
    assert run(train) == 0
    assert "phrases, such as " in capsys.readouterr().out
    assert "san_juan" in WordVectors.load(out).words
    assert run([*train[:2], str(file), f"out={tmp_path / 'b'}", "text.phrases.threshold=3"]) == 2
    assert "npmi lies between -1 and 1" in capsys.readouterr().err
    assert run([*train[:2], str(file), f"out={tmp_path / 'c'}", "kind=fasttext_classifier", train[-1]]) == 2
    assert "a classifier takes word_ngrams=2 instead" in capsys.readouterr().err
