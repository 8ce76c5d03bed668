"""Word vectors and classifiers are trained: formulas, parity with gensim and fastText, what is learned, faults."""

from __future__ import annotations

import heapq
import os
import random
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fasttext_side import ask
from rootlm.cli.main import run
from rootlm.models.fasttext_files import read_fasttext, write_fasttext
from rootlm.models.huffman import huffman
from rootlm.models.text_classifier import Guess, TextClassifier
from rootlm.models.word_vectors import WordVectors
from rootlm.runs.vectors_run import VectorsRecipe, learn
from rootlm.runs.vectors_text import VectorsText, pieces
from rootlm.tokenizers.counted_words import count_words, pieces_of
from rootlm.training import word_vector_kernel as kernel
from rootlm.training import word_vector_training as training
from rootlm.training.matrices import aligned, width_of
from rootlm.training.negatives import LEAST_PART, alias_table, alias_tables
from rootlm.training.row_arithmetic import exchange, products
from rootlm.training.stretches import Course, stretches
from rootlm.training.word_vector_settings import ClassifierConfig, FastTextConfig, Word2VecConfig

ARCHITECTURES = ("skip_gram", "cbow")
LOSSES = ("negative_sampling", "hierarchical_softmax")
PLACES = ("river", "harbour", "island", "valley")


def planted(lines: int = 3000, seed: int = 0) -> str:
    """Write sentences in which a word and its twin stand in the same places; all others are noise."""
    chance = random.Random(seed)
    noise = [f"noise{number}" for number in range(60)]
    written = []
    for _ in range(lines):
        place = chance.randrange(len(PLACES))
        twin = chance.choice([PLACES[place], PLACES[place] + "twin"])
        near = [f"near{place}{chance.randrange(4)}" for _ in range(4)]
        line = [chance.choice(noise), *near[:2], twin, *near[2:], chance.choice(noise)]
        written.append(" ".join(line))
    return "\n".join(written) + "\n"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("vectors") / "planted.txt"
    file.write_text(planted(), encoding="utf-8")
    return file


def vectors_of(text: Path, model: Word2VecConfig | ClassifierConfig) -> WordVectors:
    return learn(VectorsRecipe(corpus=(str(text),), model=model), lambda _: None)


def nearest(vectors: WordVectors, word: str) -> str:
    rows = vectors.matrix / np.linalg.norm(vectors.matrix, axis=1, keepdims=True)
    order = np.argsort(-rows @ rows[vectors.index[word]])
    return vectors.words[next(row for row in order.tolist() if vectors.words[row] != word)]


def sigmoid(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 13])
def test_rows_are_multiplied_and_exchanged_as_the_formula_says(count: int) -> None:
    generator = np.random.default_rng(count)
    width = 32
    matrix, hidden, steps = aligned(20 * width), aligned(width), aligned(count)
    matrix[:] = generator.normal(size=len(matrix))
    hidden[:] = generator.normal(size=width)
    places = generator.permutation(20)[:count].astype(np.int64)
    rows, before = matrix.reshape(20, width).copy(), hidden.copy()
    products(matrix, places, 0, count, hidden, width, steps)
    np.testing.assert_allclose(steps, rows[places] @ before, rtol=1e-5, atol=1e-5)
    exchange(matrix, places, 0, count, hidden, width, steps, aligned(width))
    np.testing.assert_allclose(hidden, before + steps @ rows[places], rtol=1e-4, atol=1e-4)
    rows[places] += steps[:, None] * before
    np.testing.assert_allclose(matrix.reshape(20, width), rows, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("shared", [True, False])
def test_one_line_moves_the_vectors_by_the_gradients(architecture: str, loss: str, shared: bool) -> None:
    # Two words have one negative each, three words one tree, and a window of 1 one reach: nothing is random.
    words = 2 if loss == "negative_sampling" else 3
    line = [0, 1] if words == 2 else [2, 0, 1]
    counts = np.array([5, 3, 2][:words], np.int64)
    tokens, borders = np.array(line, np.int32), np.array([0, len(line)], np.int64)
    settings = Word2VecConfig(
        architecture=architecture, loss=loss, negatives=1, share_negatives=shared, window=1, size=20, epochs=1,
        sample=0, learning_rate=0.5, last_learning_rate=0.5, threads=1,
    )  # fmt: skip
    model = training._begin(
        settings, training.Text(tokens, borders, counts), bags := training.words_alone(words)
    )
    width, generator = width_of(20), np.random.default_rng(0)
    for matrix in (model.rows, model.outputs):
        matrix.reshape(-1, width)[:, :20] = generator.normal(size=(len(matrix) // width, 20)) / 3
    inputs, outputs = (m.reshape(-1, width)[:, :20].astype(np.float64) for m in (model.rows, model.outputs))
    run = training._Run(settings, training.Text(tokens, borders, counts), bags, model)
    course = training.Course(1, 0.5, 0.5, 1)
    for stretch in training.stretches(borders, course):
        run.learn(stretch)
    ways = huffman(counts)

    def tell(hidden: np.ndarray, word: int) -> np.ndarray:
        if loss == "negative_sampling":
            rows, labels = [word, 1 - word], np.array([1.0, 0.0])
        else:
            way = slice(ways.offsets[word], ways.offsets[word + 1])
            rows, labels = ways.nodes[way].tolist(), ways.turns[way].astype(float)
        steps = 0.5 * (labels - sigmoid(outputs[rows] @ hidden))
        change = steps @ outputs[rows]
        outputs[rows] += np.outer(steps, hidden)
        return change

    for place, word in enumerate(line):
        near = [line[other] for other in (place - 1, place + 1) if 0 <= other < len(line)]
        if architecture == "skip_gram":
            for other in near:
                inputs[other] += tell(inputs[other], word)
        else:
            inputs[near] += tell(inputs[near].mean(axis=0), word)
    for matrix, expected in ((model.rows, inputs), (model.outputs, outputs)):
        np.testing.assert_allclose(matrix.reshape(-1, width)[:, :20], expected, rtol=1e-5, atol=1e-5)
        assert not matrix.reshape(-1, width)[:, 20:].any()


def test_huffman_ways_are_the_shortest_and_none_begins_another() -> None:
    counts = np.sort(np.random.default_rng(0).integers(1, 1000, 200))[::-1]
    ways = huffman(counts)
    heap, least = counts.tolist(), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        least += joined
        heapq.heappush(heap, joined)
    assert int(np.diff(ways.offsets) @ counts) == least
    spans = zip(ways.offsets[:-1].tolist(), ways.offsets[1:].tolist(), strict=True)
    codes = sorted("".join(map(str, ways.turns[begin:end])) for begin, end in spans)
    assert not any(after.startswith(before) for before, after in pairwise(codes))
    assert (ways.nodes[ways.offsets[:-1]] == len(counts) - 2).all(), "every way begins at the root"


def test_negatives_are_drawn_by_the_power_of_their_counts_and_never_the_word_itself() -> None:
    counts = np.array([1000, 400, 30, 7, 1], np.int64)
    table = alias_table(counts)
    shares = counts**0.75 / (counts**0.75).sum()
    kept = table[:, 0] / 2.0**32
    assert table[:, 2].tolist() == list(range(5))
    implied = (kept + np.bincount(table[:, 1], 1 - kept, len(counts))) / len(counts)
    np.testing.assert_allclose(implied, shares, atol=1e-8)
    places, labels, state = np.empty(100_001, np.int64), aligned(100_001), np.uint64(7)
    none = np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int8)
    kernel._choose(0, 0, 100_000, table, *none, places, labels, state)
    drawn = np.bincount(places[1:], minlength=5) / 100_000
    assert places[0] == 0 and labels[0] == 1 and not labels[1:].any() and drawn[0] == 0
    np.testing.assert_allclose(drawn[1:], shares[1:] / shares[1:].sum(), atol=0.01)


@pytest.mark.parametrize(
    ("words", "workers", "parts"), [(50, 4, 1), (5000, 1, 1), (5000, 3, 3), (5000, 64, 5)]
)
def test_parts_share_out_the_vocabulary_and_give_each_word_its_share(words, workers, parts) -> None:
    counts = np.sort((1e6 / np.arange(1, words + 1) ** 1.1).astype(np.int64) + 1)[::-1].copy()
    tables = alias_tables(counts, workers)
    assert len(tables) == parts <= max(1, words // LEAST_PART)
    drawn = np.zeros(words)
    for table in tables:
        assert not set(table[:, 1]) - set(table[:, 2])
        kept = table[:, 0] / 2.0**32
        both = np.concatenate([table[:, 2], table[:, 1]]), np.concatenate([kept, 1 - kept])
        drawn += np.bincount(both[0], both[1], words) / len(table) / parts
    assert sorted(np.concatenate([table[:, 2] for table in tables]).tolist()) == list(range(words))
    shares = counts**0.75 / (counts**0.75).sum()
    np.testing.assert_allclose(drawn, shares, rtol=2e-3)


def test_stretches_that_stand_together_take_turns_and_change_them_each_epoch() -> None:
    borders = np.arange(0, 1_000_001, 10)
    turns = [stretch.turn for stretch in stretches(borders, Course(3, 0.1, 0.0, 0))]
    epochs = np.array(turns).reshape(3, -1)
    assert (np.diff(epochs, axis=1) == 1).all() and (np.diff(epochs, axis=0) == 1).all()


def test_frequent_words_are_left_out_as_gensim_has_it(text: Path) -> None:
    from gensim.models import Word2Vec

    theirs = Word2Vec(sample=1e-3, min_count=5)
    theirs.build_vocab(corpus_file=str(text))
    counted = count_words(pieces_of(text), min_count=5)
    expected = [theirs.wv.get_vecattr(word, "sample_int") for word in counted.words]
    np.testing.assert_allclose(training.keeping(counted.counts, 1e-3), expected, rtol=1e-6)
    assert [theirs.wv.get_vecattr(word, "count") for word in counted.words] == counted.counts.tolist()


MODELS = [
    *(
        Word2VecConfig(architecture=architecture, loss=loss, learning_rate=0.1)
        for architecture in ARCHITECTURES
        for loss in LOSSES
    ),
    Word2VecConfig(share_negatives=True, learning_rate=0.1),
    *(
        FastTextConfig(architecture=architecture, buckets=5000, minimum=3, maximum=4, learning_rate=0.1)
        for architecture in ARCHITECTURES
    ),
]
SMALL = {"size": 32, "min_count": 2, "sample": 0.0, "epochs": 6}


def named(model: Word2VecConfig) -> str:
    shared = "-shared" if model.share_negatives else ""
    return f"{model.kind}-{model.architecture}-{model.loss}{shared}"


@pytest.mark.parametrize("model", MODELS, ids=named)
def test_twins_are_found_by_two_workers(text: Path, model: Word2VecConfig) -> None:
    vectors = vectors_of(text, model.model_copy(update={**SMALL, "threads": 2}))
    assert vectors.outputs is not None and np.isfinite(vectors.outputs).all()
    assert [nearest(vectors, place) for place in PLACES] == [place + "twin" for place in PLACES]


@pytest.mark.parametrize("model", MODELS, ids=named)
def test_one_worker_gives_the_same_bytes_every_time(text: Path, model: Word2VecConfig) -> None:
    once = model.model_copy(update={**SMALL, "threads": 1, "epochs": 1, "sample": 1e-2})
    first, again = (vectors_of(text, once) for _ in range(2))
    assert first.matrix.tobytes() == again.matrix.tobytes()
    assert first.outputs is not None and again.outputs is not None
    assert first.outputs.tobytes() == again.outputs.tobytes()
    other = vectors_of(text, once.model_copy(update={"seed": 2}))
    assert first.matrix.tobytes() != other.matrix.tobytes()


def test_fasttext_itself_gives_unseen_words_the_vectors_we_give(text: Path, tmp_path: Path) -> None:
    vectors = vectors_of(text, FastTextConfig(**SMALL, buckets=3000, minimum=2, maximum=4, threads=2))
    write_fasttext(vectors, tmp_path / "ours.bin")
    words = ["river", "rivertwins", "harbours", "岛river"]
    told = ask(model=tmp_path / "ours.bin", ask=words)["vectors"]
    for word in words:
        # This build of fastText gives every vector the length 1.
        np.testing.assert_allclose(told[word], vectors[word] / np.linalg.norm(vectors[word]), atol=1e-5)


def reviews(lines: int, seed: int) -> str:
    """Write texts whose label shows in two words together, and in one of them most of the time."""
    chance = random.Random(seed)
    written = []
    for _ in range(lines):
        kind = chance.choice("abc")
        words = [
            chance.choice([f"{kind}{chance.randrange(5)}", f"so{chance.randrange(9)}"]) for _ in range(6)
        ]
        written.append(f"__label__{kind} " + " ".join([*words, f"只{kind}只"]))
    return "\n".join(written) + "\n"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("labels") / "labelled.txt"
    file.write_text(reviews(600, 0), encoding="utf-8")
    return file


CLASSIFIERS = [
    ClassifierConfig(size=10, learning_rate=0.5, threads=1, loss=loss, **more)
    for loss in ("softmax", "one_versus_all", "hierarchical_softmax")
    for more in ({}, {"word_ngrams": 3, "buckets": 1000}, {"minimum": 2, "maximum": 3, "word_ngrams": 2})
]


@pytest.mark.parametrize(
    "model", CLASSIFIERS, ids=lambda model: f"{model.loss}-{model.word_ngrams}-{model.maximum}"
)
def test_a_classifier_tells_labels_and_fasttext_reads_it_alike(
    labelled: Path, tmp_path: Path, model: ClassifierConfig
) -> None:
    vectors = vectors_of(labelled, model)
    texts = [line.partition(" ")[2] for line in reviews(50, 1).splitlines()] + ["so1 neverseen b2"]
    right = [line.partition(" ")[0] for line in reviews(50, 1).splitlines()]
    found = TextClassifier(vectors).predict(texts, k=3)
    assert [guesses[0].label for guesses in found[:50]] == right
    assert vectors.matrix.tobytes() == vectors_of(labelled, model).matrix.tobytes()
    write_fasttext(vectors, tmp_path / "ours.bin")
    agree(ask(model=tmp_path / "ours.bin", supervised=True, texts=texts)["guesses"], found)


def agree(told: list[list[list]], found: list[list[Guess]]) -> None:
    """Hold each label that fastText tells, with its probability, to ours."""
    for (labels, chances), guesses in zip(told, found, strict=True):
        ours = {guess.label: guess.probability for guess in guesses}
        # fastText reads σ from a table of 512 steps, and leaves improbable labels out.
        assert [ours[label] for label in labels] == pytest.approx(chances, abs=6e-3)


@pytest.mark.parametrize("ngrams", [1, 3])
def test_a_classifier_of_fasttext_is_read_alike(labelled: Path, tmp_path: Path, ngrams: int) -> None:
    cut = {"minn": 2, "maxn": 3} if ngrams > 1 else {}
    settings = {"dim": 10, "wordNgrams": ngrams, "bucket": 997, **cut}
    texts = [line.partition(" ")[2] for line in reviews(30, 2).splitlines()]
    file = tmp_path / "theirs.bin"
    told = ask(text=labelled, settings=settings, supervised=True, out=file, texts=texts)["guesses"]
    agree(told, TextClassifier(read_fasttext(file).vectors).predict(texts, k=3))


def test_a_text_is_counted_alike_in_small_pieces_and_from_disk(text: Path) -> None:
    whole = count_words([text.read_bytes()], min_count=2)
    for counted in (
        count_words(pieces_of(text, 5000), min_count=2, threads=2),
        count_words(pieces_of(text, 5000), min_count=2, memory_bytes=1),
    ):
        assert counted.words == whole.words and counted.read == whole.read
        for name in ("counts", "tokens", "borders"):
            np.testing.assert_array_equal(getattr(counted, name), getattr(whole, name))


def test_lines_end_at_the_longest_and_bytes_that_are_no_text_stay_words() -> None:
    counted = count_words([b"a " * 25_000 + b"\n\n\xff a\r\n\xff"], min_count=1)
    assert counted.borders.tolist() == [0, 10_000, 20_000, 25_000, 25_002, 25_003]
    assert counted.words == ["a", "\\xff"]


def test_a_corpus_is_cut_into_words(tmp_path: Path) -> None:
    (tmp_path / "news.jsonl").write_text('{"text":"我们说北京大学。The Cat sat."}\n' * 3, encoding="utf-8")
    prepare = [
        "data",
        "prepare",
        str(tmp_path / "news.jsonl"),
        f"out={tmp_path / 'corpus'}",
        "quality=null",
        "language=null",
    ]
    assert run([*prepare, *UNTREATED]) == 0
    found = b"".join(pieces([str(tmp_path / "corpus")], VectorsText(lower=True), 1)).decode()
    assert found == "我们 说 北京大学\nthe cat sat\n" * 3


UNTREATED = (
    "duplicates.drop_exact=false",
    "duplicates.drop_near=false",
    "split.validation=0",
    "split.test=0",
)


FAULTS = {
    "min_count=999999": "min_count=999999: no word is left, the most frequent word occurs",
    "size=0": "size is 0, expected greater than or equal to 1",
    "last_learning_rate=1": "last_learning_rate=1 is above learning_rate=0.025",
    "kind=glovv": "unknown kind glovv",
    "windo=3": "unknown key windo; did you mean window",
    "learning_rate=1e30": "learning_rate=1e+30: the vectors are no numbers any more",
    "kind=fasttext minimum=3 maximum=2": "maximum=2 is below minimum=3",
    "kind=fasttext_classifier": "no line holds a label; begin each with one, as __label__good",
    "size=100000000000": "the vectors take",
}


@pytest.mark.parametrize("words", FAULTS, ids=str)
def test_what_cannot_be_trained_is_said_in_a_line(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert run(["vectors", "train", str(text), f"out={tmp_path / 'run'}", "epochs=1", *words.split()]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert FAULTS[words] in said
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("one one one one one one\n", "", "the vocabulary is one word, which has no other to be told from"),
        ("one\ntwo\n" * 9, "", "every line is one word, which has no neighbour"),
        ("", "", "is empty; give a text of words apart"),
        (" \n\n", "", "the text holds no word; give a text of words apart"),
        ("__label__a one\n" * 9, "kind=fasttext_classifier", "all texts have the same label"),
        ("__label__a\n__label__b\n" * 9, "kind=fasttext_classifier min_count=99", "no word is left"),
    ],
)
def test_a_text_that_teaches_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, words: str, message: str
) -> None:
    file = tmp_path / "text.txt"
    file.write_text(content, encoding="utf-8")
    assert run(["vectors", "train", str(file), f"out={tmp_path / 'run'}", *words.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_classifier_is_trained_asked_and_tested_by_command(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    train = ["vectors", "train", str(labelled), f"out={out}", "kind=fasttext_classifier", "learning_rate=0.5"]
    assert run(train) == 0
    assert {file.name for file in Path(out).iterdir()} >= {
        "config.json", "model.safetensors", "words.json", "recipe.yaml", "metrics.jsonl", "report.html", "README.md",
    }  # fmt: skip
    assert run(train) == 0 and "finished; choose another out=" in capsys.readouterr().out
    assert run(["vectors", "classify", out, "a1 a2 a3", "k=2"]) == 0
    assert capsys.readouterr().out.startswith("__label__a ")
    assert run(["vectors", "classify", out, f"test={labelled}"]) == 0
    assert "600 texts\tprecision at 1: 1.0000\trecall at 1: 1.0000" in capsys.readouterr().out
    (tmp_path / "wrong.txt").write_text("__label__a a1\n__label__good b1\n", encoding="utf-8")
    assert run(["vectors", "classify", out, f"test={tmp_path / 'wrong.txt'}"]) == 2
    assert "wrong.txt:2: __label__good was not seen in training" in capsys.readouterr().err
    assert run(["vectors", "classify", out]) == 2


def test_an_interrupted_training_leaves_nothing_torn_and_begins_anew(text: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "rootlm",
        "vectors",
        "train",
        str(text),
        f"out={tmp_path / 'run'}",
        "threads=2",
    ]
    process = subprocess.Popen([*words, "epochs=100000"], stderr=subprocess.PIPE, env=os.environ)
    metrics = tmp_path / "run" / "metrics.jsonl"
    until = time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in said
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert run(["vectors", "train", str(text), f"out={tmp_path / 'run'}", "epochs=1"]) == 0
    assert len(WordVectors.load(tmp_path / "run")) > 60
