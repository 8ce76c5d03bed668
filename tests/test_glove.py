"""GloVe: pairs are counted as plain Python counts them, steps are AdaGrad's, and what is learned fits the counts."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rootlm.cli.main import run
from rootlm.models.word_vectors import WordVectors
from rootlm.runs.vectors_run import VectorsRecipe, learn
from rootlm.training.glove_kernel import Tables, glove_steps
from rootlm.training.matrices import aligned, width_of
from rootlm.training.meetings import PAIR, Meetings, meetings
from rootlm.training.word_vector_settings import GloveConfig

Text = tuple[np.ndarray, np.ndarray]


def drawn(lines: int, words: int, seed: int = 0) -> Text:
    """Return lines of random lengths, some of one word, of words of unlike frequency."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 40, lines)
    tokens = (words * generator.random(int(lengths.sum())) ** 3).astype(np.int32)
    return tokens, np.concatenate((np.zeros(1, np.int64), lengths.cumsum()))


def plainly(text: Text, window: int) -> dict[tuple[int, int], float]:
    """Count pairs in a dictionary."""
    tokens, borders = text
    met: dict[tuple[int, int], float] = defaultdict(float)
    for begin, end in pairwise(borders.tolist()):
        line = tokens[begin:end].tolist()
        for place, own in enumerate(line):
            for distance in range(1, min(window, place) + 1):
                other = line[place - distance]
                met[min(own, other), max(own, other)] += 1 / distance
    return met


def as_dictionary(found: Meetings) -> dict[tuple[int, int], float]:
    """Return pairs and sums; each pair must be there once, in order."""
    pairs = [(int(pair["first"]), int(pair["second"])) for pair in found.pairs]
    assert pairs == sorted(set(pairs))
    return dict(zip(pairs, found.pairs["times"].tolist(), strict=True))


@pytest.mark.parametrize("window", [1, 2, 10, 100])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("memory", [1 << 30, 40_000, 1])
def test_pairs_are_counted_within_any_memory(window: int, threads: int, memory: int) -> None:
    text = drawn(300, 50)
    found = meetings(text, 50, window, threads=threads, memory_bytes=memory)
    assert as_dictionary(found) == pytest.approx(plainly(text, window), rel=1e-6)
    assert memory == 40_000 or (found.place is not None) == (memory == 1)


def test_pairs_on_disk_vanish_with_what_holds_them() -> None:
    found = meetings(drawn(300, 50), 50, 5, threads=2, memory_bytes=1)
    assert found.place
    folder = Path(found.place.name)
    assert (folder / "pairs").stat().st_size == len(found.pairs) * PAIR.itemsize
    del found
    assert not folder.exists()


def test_steps_are_those_of_adagrad_on_the_weighted_squares() -> None:
    words, size, most, power, rate = 5, 19, 4.0, 0.75, 0.1
    generator = np.random.default_rng(0)
    pairs = np.array([(0, 1, 3.5), (0, 0, 1.0), (1, 4, 9.0), (2, 3, 0.25)], PAIR)
    width = width_of(size)
    flat = [aligned(words * width) for _ in range(4)]
    for matrix in flat[:2]:
        matrix.reshape(words, width)[:, :size] = generator.normal(size=(words, size)) / 3
    for matrix in flat[2:]:
        matrix[:] = 1
    biases = generator.normal(size=(2, words)).astype(np.float32)
    tables = Tables(*flat, biases, np.ones_like(biases))
    values = [matrix.reshape(words, width)[:, :size].astype(np.float64) for matrix in flat[:2]]
    squares = [np.ones((words, size)) for _ in values]
    own, own_squares = biases.astype(np.float64), np.ones((2, words))

    def step(i: int, j: int, times: float) -> float:
        error = values[0][i] @ values[1][j] + own[0, i] + own[1, j] - np.log(times)
        weight = min(1.0, (times / most) ** power)
        gradients = [weight * error * values[1][j], weight * error * values[0][i]]
        for side, row in ((0, i), (1, j)):
            values[side][row] -= rate * gradients[side] / np.sqrt(squares[side][row])
            squares[side][row] += gradients[side] ** 2
            own[side, row] -= rate * weight * error / np.sqrt(own_squares[side, row])
            own_squares[side, row] += (weight * error) ** 2
        return float(0.5 * weight * error**2)

    # A stride of 3 in 8 samples: even ones are a pair as it stands, odd ones its words the other way about; a word
    # next to itself is one sample, in which it meets itself from both sides.
    expected = 0.0
    for sample in (0, 3, 6, 1, 4, 7, 2, 5):
        i, j, times = pairs[sample // 2].item()
        if i == j and sample % 2:
            continue
        expected += step(*((j, i) if sample % 2 else (i, j)), 2 * times if i == j else times)
    total = glove_steps(pairs, (0, 8, 3), tables, width, (most, power), rate)
    assert total == pytest.approx(expected, rel=1e-4)
    for matrix, value in zip(flat[:2], values, strict=True):
        np.testing.assert_allclose(matrix.reshape(words, width)[:, :size], value, rtol=1e-4, atol=1e-5)
        assert not matrix.reshape(words, width)[:, size:].any()
    np.testing.assert_allclose(tables.biases, own, rtol=1e-4, atol=1e-5)


TOPICS = ("sea", "town", "wood", "hill")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write sentences in which a word and its twin stand among the words of one topic."""
    chance = random.Random(0)
    file = tmp_path_factory.mktemp("glove") / "text.txt"
    lines = []
    for _ in range(3000):
        topic = chance.choice(TOPICS)
        words = [f"{topic}{chance.randrange(6)}" for _ in range(6)] + [chance.choice([topic, topic + "twin"])]
        chance.shuffle(words)
        lines.append(" ".join([*words, f"noise{chance.randrange(40)}"]))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


SMALL = GloveConfig(size=16, min_count=2, most=50, epochs=10, threads=2)


def learned(text: Path, model: GloveConfig, losses: list[float] | None = None) -> WordVectors:
    said = [] if losses is None else losses
    return learn(
        VectorsRecipe(corpus=(str(text),), model=model), lambda _: None, lambda now: said.append(now.loss)
    )


def test_twins_are_found_and_the_loss_falls(text: Path) -> None:
    losses: list[float] = []
    vectors = learned(text, SMALL, losses)
    assert losses[-1] < 0.5 * losses[0]
    rows = vectors.matrix / np.linalg.norm(vectors.matrix, axis=1, keepdims=True)
    for topic in TOPICS:
        order = np.argsort(-rows @ rows[vectors.index[topic]])
        assert vectors.words[order[1]].startswith(topic), topic


def test_products_are_the_logarithms_of_the_counts(tmp_path: Path) -> None:
    # Every pair has the full weight and there are numbers enough: what is left of the loss is next to nothing.
    chance = random.Random(0)
    file = tmp_path / "text.txt"
    file.write_text("\n".join(" ".join(chance.choices("abcdef", k=5)) for _ in range(300)), encoding="utf-8")
    losses: list[float] = []
    learned(file, GloveConfig(size=32, most=1e-6, epochs=3000, min_count=1, threads=1, window=4), losses)
    assert losses[-1] < 1e-4


def test_one_worker_gives_the_same_bytes_every_time(text: Path) -> None:
    once = SMALL.model_copy(update={"threads": 1, "epochs": 2})
    first, again, other = (
        learned(text, model) for model in (once, once, once.model_copy(update={"seed": 2}))
    )
    assert first.matrix.tobytes() == again.matrix.tobytes() != other.matrix.tobytes()
    assert first.outputs is not None and again.outputs is not None
    assert first.outputs.tobytes() == again.outputs.tobytes()


def test_how_the_pairs_were_counted_changes_nothing(text: Path) -> None:
    once = SMALL.model_copy(update={"threads": 1, "epochs": 1})
    rows = [learned(text, once.model_copy(update={"memory_mb": memory})).matrix for memory in (1, 1000)]
    np.testing.assert_array_equal(*rows)


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("one\ntwo\n" * 9, "", "every line is one word, which has no neighbour"),
        ("a b\n" * 9, "power=0", "power is 0, expected greater than 0"),
        ("a b\n" * 9, "windo=3", "unknown key windo; did you mean window"),
        ("a b\n" * 9, "learning_rate=1e30", "the vectors are no numbers any more after"),
        ("a b\n" * 9, "size=100000000000", "the vectors take"),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, words: str, message: str
) -> None:
    file = tmp_path / "text.txt"
    file.write_text(content, encoding="utf-8")
    assert run(["vectors", "train", str(file), f"out={tmp_path / 'run'}", "kind=glove", *words.split()]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_run_counts_pairs(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(["vectors", "train", str(text), f"out={tmp_path / 'run'}", "kind=glove", "size=8", "epochs=1"])
        == 0
    )
    captured = capsys.readouterr()
    assert "pairs of words meet within 10 words, held in memory" in captured.out
    assert "pairs/s" in captured.err and "words/s" not in captured.err
    assert run(["vectors", "neighbours", str(tmp_path / "run"), "sea"]) == 0


def test_frequent_words_come_first(text: Path) -> None:
    vectors = learned(text, SMALL.model_copy(update={"epochs": 1}))
    counts = Counter(text.read_text(encoding="utf-8").split())
    assert vectors.counts is not None
    assert (
        [counts[word] for word in vectors.words] == vectors.counts.tolist() == sorted(counts.values())[::-1]
    )
